// Parts as the text of messages. Two messages at most are of more than one part: the system's, and a user's with facts.
// Summaries are in the system's and facts in the user's because chat templates, of remote servers too, want one system
// message and then user and assistant in turn. Pure; a changed word here makes every prompt a different one.
import { dayOfTurn } from './turn-day.ts';
import type { PromptFact, PromptMessage, PromptTurn, SummaryNode } from './prompt-parts.ts';

const SUMMARIES = 'Earlier in this conversation, in short, oldest first:';
const FACTS = 'What you know about me:';

/** The system's message; none where there is nothing to say. */
export function systemMessage(text: string, summaries: readonly SummaryNode[]): PromptMessage[] {
  const told = summaries.filter((each) => each.text !== '');
  const lines = told.map((each) => `- ${oneLine(each.text)}`);
  const older = lines.length === 0 ? '' : [SUMMARIES, ...lines].join('\n');
  const content = [text, older].filter((each) => each !== '').join('\n\n');
  if (content === '') return [];
  return [
    {
      role: 'system',
      content,
      parts: [
        ...(text === '' ? [] : [{ kind: 'system' as const, text }]),
        ...told.map((node) => ({ kind: 'summary' as const, node })),
      ],
    },
  ];
}

/** A turn as it was said, behind the facts that are first shown with it. */
export function turnMessage(turn: PromptTurn, facts: readonly PromptFact[]): PromptMessage {
  const { role, content, turnId } = turn;
  const said = { kind: 'turn' as const, turnId, text: content };
  if (facts.length === 0) return { role, content, parts: [said] };
  const lines = facts.map(({ text, day }) => `- ${oneLine(text)} (${day})`);
  const known = [`(Today is ${dayOfTurn(turnId)}. ${FACTS}`, ...lines].join('\n');
  return {
    role,
    content: `${known})\n\n${content}`,
    parts: [...facts.map((fact) => ({ kind: 'fact' as const, fact })), said],
  };
}

/** A line of a list stays one line, so that no text can look like the next. */
function oneLine(text: string): string {
  return text.replace(/\s+/gu, ' ').trim();
}
