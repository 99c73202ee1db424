// What a person says in a long conversation: small talk of even length, with facts planted at some turns and asked for at
// the end. Seeded, the same in every run.

export interface PlantedFact {
  /** The turn that says it, from 1. */
  readonly turn: number;
  readonly says: string;
  readonly question: string;
  /** In lower case; an answer or a prompt that has it knows the fact. */
  readonly answer: string;
}

export const PLANTED: readonly PlantedFact[] = [
  { turn: 4, says: 'My cat is called Zorro.', question: 'What is my cat called?', answer: 'zorro' },
  { turn: 30, says: 'I live in Lisbon.', question: 'Which city do I live in?', answer: 'lisbon' },
  { turn: 70, says: 'I work as a carpenter.', question: 'What do I work as?', answer: 'carpenter' },
  {
    turn: 110,
    says: 'My sister’s name is Ingrid.',
    question: 'What is my sister’s name?',
    answer: 'ingrid',
  },
  {
    turn: 150,
    says: 'I am allergic to peanuts.',
    question: 'What am I allergic to?',
    answer: 'peanut',
  },
  {
    turn: 180,
    says: 'My favourite colour is purple.',
    question: 'What is my favourite colour?',
    answer: 'purple',
  },
  {
    turn: 198,
    says: 'My bicycle is a Bianchi.',
    question: 'What brand is my bicycle?',
    answer: 'bianchi',
  },
];

const TOPICS = [
  'gardens',
  'trains',
  'soup',
  'maps',
  'bridges',
  'music',
  'paper',
  'rivers',
  'clocks',
  'bread',
  'chairs',
  'clouds',
];

/** What turn `n`, from 1, says: some 50 tokens. */
export function messageOf(n: number): string {
  const topic = TOPICS[(n * 7) % TOPICS.length] ?? '';
  const other = TOPICS[(n * 5 + 3) % TOPICS.length] ?? '';
  const said =
    PLANTED.find(({ turn }) => turn === n)?.says ?? `This is message number ${n} of today.`;
  return `${said} I was thinking about ${topic} again, and how they are like ${other} in some ways but not in others. Tell me one short thing about ${topic} that most people would not know.`;
}

/** A reply of some 60 tokens, where none is taken from a model. */
export function replyOf(n: number): string {
  const topic = TOPICS[(n * 7) % TOPICS.length] ?? '';
  return `One thing that few people know about ${topic} is that they were once kept by families who wrote down every change they saw in them. These notes were passed on for ${n + 2} generations, and some of them can still be read in small museums today, if you ask for them kindly.`;
}
