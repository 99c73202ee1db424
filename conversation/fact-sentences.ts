// The sentences of a message in which a user may say something lasting of themselves. What is quoted, code, a question or
// a supposition is no statement of theirs. Pure; English first.

/** A longer one is a story or a document, not a fact. */
const MAX_CHARS = 220;
/** Of a message that is longer, the rest is material, not conversation. */
const MAX_MESSAGE_CHARS = 20_000;
const MAX_SENTENCES = 200;

/** Someone else's words: code, quotations, mail headers, and whatever the user asks to have worked on. */
const FENCED = /```[\s\S]*?(?:```|$)|~~~[\s\S]*?(?:~~~|$)/g;
const QUOTED_LINE = /^\s*(?:>|\||#|\/\/|(?:from|to|subject|user|assistant|human|ai|me|you)\s*:)/iu;
const QUOTED_SPAN = /["“”«»„][^"“”«»„\n]{2,}["“”«»„]|`[^`\n]+`/g;
/** What follows is a text to be translated, corrected or continued, or a part to be played. */
const MATERIAL =
  /\b(?:translate|summari[sz]e|paraphrase|rewrite|rephrase|proofread|(?:correct|edit|improve|check) (?:this|the|my|these|following)|grammar|essay|story|poem|lyrics|novel|dialogue|script|cover letter|act as|pretend|role-?play|imagine|suppose|hypothetically|for example|e\.g\.|in the voice of|write (?:a|an|me|the)|draft (?:a|an|me|the))\b/iu;
/** No statement: conditions, wishes, the past, what others would say. */
const UNREAL =
  /\b(?:if i|if my|when i was|as if|wish|used to|would(?: have)?|could have|should have|might|maybe|perhaps|not sure|someone who|anyone who|let'?s say|says? that|said that|told me|asked me|jk|just kidding|kidding)\b/iu;

/** @returns trimmed sentences without their final punctuation, in order */
export function factSentences(message: string): string[] {
  const own = message.slice(0, MAX_MESSAGE_CHARS).replace(FENCED, '\n').replace(/[’‘]/g, "'");
  const lines = own.split(/\n+/u).filter((line) => !QUOTED_LINE.test(line));
  const found: string[] = [];
  for (const line of lines) {
    // Behind an order to work on a text, the line is that text.
    if (MATERIAL.test(line)) {
      if (/:\s*$/u.test(line)) break;
      continue;
    }
    for (const sentence of line.replace(QUOTED_SPAN, ' ').split(/(?<=[.!?…])\s+|;\s+/u)) {
      const text = statementOf(sentence.trim());
      if (text === '' || text.length > MAX_CHARS || UNREAL.test(text)) continue;
      found.push(text.replace(/[.!…\s]+$/u, ''));
      if (found.length === MAX_SENTENCES) return found;
    }
  }
  return found;
}

/** A statement with a question or a wish behind its comma; of a mere question nothing is left. */
function statementOf(sentence: string): string {
  const [statement = '', ...asked] = sentence.split(ASKING);
  return /\?\s*$/u.test(sentence) && asked.length === 0 ? '' : statement;
}

const ASKING =
  /,\s+(?:so |and |but )?(?=(?:what|which|who|where|when|why|how|can|could|should|would|will|do|does|did|is|are|am|may|any|please|tell|give|show|help|suggest|recommend|explain)\b)/iu;
