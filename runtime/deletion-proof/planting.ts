// Puts a text into every kind of place that the public API offers, as a user would.

export interface PlantingUser {
  readonly gateway: string;
  readonly userId: string;
  readonly token: string;
}

export interface Planted {
  readonly conversationId: string;
  /** Words of a reply as they went through the turn log, such as no other reply has; empty when there were none. */
  readonly words: string;
}

/**
 * A conversation with the text in its instructions, its title, an idempotency key, a stop string, and in messages that were
 * answered, edited, answered again, answered twice at once, and cancelled.
 */
export async function plantConversation(user: PlantingUser, canary: string): Promise<Planted> {
  const made = await send(user, 'POST', '/v1/conversations', {
    system_prompt: `Always say ${canary}.`,
    title: `About ${canary}`,
    model: 'colloquy-mini',
  });
  const id = String(made['conversation_id']);
  const turns = `/v1/conversations/${id}/turns`;
  const asked = {
    role: 'user',
    content: `Repeat: ${canary}`,
    max_tokens: 24,
    stop: [`${canary}${canary}`],
  };
  const first = await send(user, 'POST', turns, asked, { 'Idempotency-Key': canary });
  await send(user, 'POST', turns, {
    ...asked,
    content: `Once more: ${canary}`,
    edit_of: first['user_turn_id'],
  });
  await send(user, 'POST', turns, {
    role: 'user',
    regenerate_of: first['turn_id'],
    max_tokens: 24,
  });
  await send(user, 'POST', turns, { ...asked, n: 2 });
  const words = await wildWords(user, id, canary);
  await cancelledTurn(user, id, canary);
  return { conversationId: id, words };
}

/** The longest run of letters in one entry of a reply at the highest temperature. */
async function wildWords(user: PlantingUser, id: string, canary: string): Promise<string> {
  const response = await fetch(`${user.gateway}/v1/conversations/${id}/turns`, {
    method: 'POST',
    headers: { ...headersOf(user), accept: 'text/event-stream' },
    body: JSON.stringify({ role: 'user', content: canary, max_tokens: 80, temperature: 2 }),
  });
  const data = (await response.text()).matchAll(/^data: (\{"text".*\})$/gm);
  const runs = [...data].flatMap(([, json = '{}']) => {
    const { text } = JSON.parse(json) as { text: string };
    return text.match(/[A-Za-z ]{12,}/g) ?? [];
  });
  return runs.toSorted((one, other) => other.length - one.length)[0]?.trim() ?? '';
}

/** A fact that was not learnt from any conversation. */
export async function plantFact({ ...user }: PlantingUser, canary: string): Promise<void> {
  await send(user, 'PATCH', `/v1/users/${user.userId}/memory`, { add: [`knows ${canary}`] });
}

async function cancelledTurn(user: PlantingUser, id: string, canary: string): Promise<void> {
  const response = await fetch(`${user.gateway}/v1/conversations/${id}/turns`, {
    method: 'POST',
    headers: { ...headersOf(user), accept: 'text/event-stream' },
    body: JSON.stringify({ role: 'user', content: `Never mind ${canary}`, max_tokens: 1000 }),
  });
  const reader = response.body?.getReader();
  await reader?.read(); // it runs
  await send(user, 'POST', `/v1/conversations/${id}/cancel`, {});
  for (let isDone = reader === undefined; !isDone;) isDone = (await reader?.read())?.done ?? true;
}

/** @throws Error with the status when it is refused */
export async function send(
  user: PlantingUser,
  method: string,
  path: string,
  body?: object,
  more: Readonly<Record<string, string>> = {},
): Promise<Record<string, unknown>> {
  const response = await fetch(user.gateway + path, {
    method,
    headers: { ...headersOf(user), ...more },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path} was refused with ${response.status}.`);
  return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
}

function headersOf({ token }: PlantingUser): Record<string, string> {
  return {
    authorization: `Bearer ${token}`,
    'content-type': 'application/json',
    accept: 'application/json',
  };
}
