// Two hundred facts of one person, and messages such as people write: some of them have to do with a fact, most do not.

const LIKED = `hiking|sailing|black coffee|green tea|old jazz records|science fiction novels|crime novels|board games|chess
  |cheese from small farms|spicy food|Japanese cinema|long train journeys|botanical gardens|winter swimming|sourdough baking
  |pottery|bird watching|crosswords|silent films|mountain huts|street photography|open-air concerts|fountain pens|maps`;
const TOWNS = `Lisbon|Ghent|Oslo|Kraków|Bologna|Uppsala|Porto|Lyon|Graz|Tallinn`;
const SKILLS = `Japanese|Turkish|the violin|Rust|watercolour painting|statistics|knitting|first aid|sign language|calligraphy`;

const list = (text: string): string[] => text.split('|').map((each) => each.trim());

/** Sentences in the first person, as a user adds them. */
export const FACTS: readonly string[] = [
  ...list(LIKED).flatMap((thing) => [
    `I like ${thing}`,
    `I read a magazine about ${thing} every month`,
    `A friend and I talk about ${thing} on Sundays`,
    `I spend a part of my savings on ${thing}`,
  ]),
  ...list(TOWNS).flatMap((town) => [
    `I have been to ${town} twice`,
    `I know a good bakery in ${town}`,
    `I would like to spend a winter in ${town}`,
    `I have an old map of ${town} on my wall`,
    `I send postcards from ${town}`,
  ]),
  ...list(SKILLS).flatMap((skill) => [
    `I am learning ${skill}`,
    `I have a teacher for ${skill}`,
    `I practise ${skill} before breakfast`,
    `I own four books about ${skill}`,
    `My goal is to be good at ${skill} by next year`,
  ]),
];

export const MESSAGES: readonly string[] = [
  'What is the capital of Australia?',
  'What should I cook tonight?',
  'Can you suggest a plan for a long weekend trip that is not too expensive and where we can hike?',
  'Write a SQL query that joins two tables and counts the rows of each customer.',
  'Explain quantum entanglement to a ten year old.',
  'Recommend me three books for my holidays, please.',
  'How do I say good morning in Japanese?',
  'Fix this: TypeError: cannot read properties of undefined (reading length), it happens when the list is empty.',
  'thanks!',
  'Give me some tips on how to fall asleep after a night shift when it is already light outside.',
  'Who won the world cup in 1998, and who scored in the final?',
  'I would like to write a short thank you note to the neighbour who fed our cat while we were away, can you draft one?',
];
