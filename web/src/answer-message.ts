// An answer: markdown that may still grow, what became of it in words, and what it took in figures.
import type { LiveTurn } from './app-state.ts';
import { sameStep } from './branches.ts';
import { copyButton } from './copy-button.ts';
import { element, setText } from './dom.ts';
import { iconButton } from './icons.ts';
import type { MessageActions, MessageProps, MessageView } from './message-view.ts';
import { usedWords } from './remembered.ts';
import { createSiblingsView } from './siblings-view.ts';
import { createStreamedMarkdown } from './streamed-markdown.ts';
import { costWords, countdownWords, durationWords, finishWords, usageWords } from './words.ts';

const NO_BREAK_SPACE = '\u00a0';

export function createAnswerMessage(actions: MessageActions): MessageView {
  let props: MessageProps | null = null;
  const markdown = createStreamedMarkdown();
  const waiting = element('div', { class: 'waiting', 'aria-hidden': 'true' });
  waiting.append(element('i'), element('i'), element('i'));
  const line = element('p', { class: 'line-state' });
  const finish = element('p', { class: 'finish' });
  const used = element('p', { class: 'used' });
  const siblings = createSiblingsView('this answer', actions.choose);
  const copy = copyButton('Copy answer', () => props?.step.turn.content ?? '');
  const again = iconButton('again', 'Write this answer again', () => {
    if (props !== null) actions.regenerate(props.step.turn);
  });
  const figures = element('span', { class: 'figures' });
  const toolbar = element('div', { class: 'toolbar' }, siblings.element, copy, again, figures);
  const article = element(
    'article',
    { class: 'message answer', 'aria-label': 'Answer' },
    markdown.element,
    waiting,
    line,
    finish,
    used,
    toolbar,
  );
  return {
    role: 'assistant',
    element: article,
    update: (next) => {
      if (isSame(props, next)) return;
      const { turn } = next.step;
      props = next;
      const facts = actions.factsOf(turn.turn_id);
      article.dataset['turn'] = turn.turn_id;
      article.setAttribute('aria-busy', String(next.live !== null));
      markdown.update(turn.content);
      waiting.hidden =
        next.live === null || turn.content !== '' || next.live.answer.link === 'delayed';
      show(line, next.live === null ? null : lineWords(next.live, next.nowMs));
      show(
        finish,
        next.live === null
          ? finishWords(turn.finish_reason, facts?.errorMessage ?? turn.error?.code ?? null)
          : null,
      );
      const told = next.live?.answer.open?.memory ?? facts?.usedFacts ?? [];
      show(used, usedWords(told, next.facts));
      finish.dataset['reason'] = turn.finish_reason ?? '';
      siblings.update(next.step);
      toolbar.hidden = next.live !== null;
      again.disabled = !next.canAct;
      showFigures(figures, next, facts?.ttftMs ?? null);
    },
  };
}

function show(paragraph: HTMLElement, words: string | null): void {
  paragraph.hidden = words === null;
  setText(paragraph, words ?? '');
}

/** What a reader who waits should know; null while all is well. */
export function lineWords({ answer, isStopping }: LiveTurn, nowMs: number): string | null {
  if (isStopping) return 'Stopping…';
  if (answer.link === 'lost')
    return 'The connection is lost. Reconnecting… The answer goes on and nothing is lost.';
  if (answer.link !== 'delayed' || answer.retryAtMs === null) return null;
  return `${answer.delayMessage ?? 'The service is busy.'} Trying again in ${countdownWords(answer.retryAtMs - nowMs)}.`;
}

function showFigures(figures: HTMLElement, { step }: MessageProps, ttftMs: number | null): void {
  const { model, served_model, usage } = step.turn;
  const words = usage === null ? null : usageWords(usage);
  const parts = [
    ...(model === null ? [] : [model]),
    ...(words === null || usage === null ? [] : [words.short, costWords(usage.cost_usd)]),
    ...(ttftMs === null ? [] : [`first token ${durationWords(ttftMs)}`]),
  ];
  // On a narrow screen the line breaks between figures, not in one.
  setText(figures, parts.map((part) => part.replaceAll(' ', NO_BREAK_SPACE)).join(' · '));
  figures.title = [
    ...(served_model === null ? [] : [`Served by ${served_model}`]),
    ...(words === null ? [] : [words.long]),
  ].join('\n');
}

function isSame(before: MessageProps | null, next: MessageProps): boolean {
  return (
    before !== null &&
    sameStep(before.step, next.step) &&
    before.live === next.live &&
    before.canAct === next.canAct &&
    before.facts === next.facts &&
    next.live?.answer.link !== 'delayed'
  );
}
