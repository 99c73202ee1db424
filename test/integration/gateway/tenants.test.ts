// Tenants: every route with an id × whose the id is. What is not the caller's own is not there: the answer is byte for byte that
// of an id that never was, whoever's it is, and nothing of it has changed. Generated from the route table.
import { createHash, randomUUID } from 'node:crypto';
import { Runtime } from '@temporalio/worker';
import { newTurnId } from '../../../contracts/ids.ts';
import { ROUTES } from '../../../gateway/route-table.ts';
import type { RouteRow } from '../../../gateway/route-table.ts';
import { rows } from '../../../postgres/pool.ts';
import { fakeServedModel } from '../../helpers/fake-served-model.ts';
import { startGatewayHarness } from '../../helpers/gateway-harness.ts';
import type { GatewayHarness } from '../../helpers/gateway-harness.ts';
import { call, newConversation, takeTurn } from '../../helpers/turn-client.ts';
import type { Caller } from '../../helpers/turn-client.ts';

interface Tenant extends Caller {
  readonly userId: string;
  readonly conversation: string;
  /** A turn that has ended. */
  readonly turn: string;
}

interface Ids {
  readonly id: string;
  readonly turn: string;
  readonly user: string;
}

/** What stands in a path; a route with anything else in its path has no row here, and fails. */
const PARAMETERS = ['id', 'turn', 'user'] as const;
const parametersOf = ({ path }: RouteRow): string[] =>
  [...path.matchAll(/:(\w+)/g)].map(([, name]) => name ?? '');

const WITH_ID = ROUTES.filter((route) => route.needsToken && parametersOf(route).length > 0);
const name = ({ method, path }: RouteRow): string => `${method.toUpperCase()} ${path}`;

/** Bodies that name something of a conversation, for the routes that take one. */
const BODIES: Readonly<Record<string, (ids: Ids) => object>> = {
  'POST /v1/conversations/:id/turns': () => ({ role: 'user', content: 'x' }),
  'PATCH /v1/conversations/:id': () => ({ title: 'taken over' }),
  'POST /v1/conversations/:id/cancel': () => ({}),
  'PATCH /v1/users/:user/memory': () => ({ add: ['is somebody else'] }),
  'PATCH /v1/users/:user/settings': () => ({ memory_enabled: false }),
};

let harness: GatewayHarness;
let own: Tenant;
let others: Readonly<Record<'of the same organisation' | 'of another organisation', Tenant>>;
let deleted: Tenant;
let stopPools: (() => Promise<void>)[];

beforeAll(async () => {
  harness = await startGatewayHarness();
  const gateway = await harness.startGateway();
  const pools = ['mini', 'default'] as const;
  stopPools = await Promise.all(
    pools.map((pool) => harness.turns.startPool(pool, fakeServedModel({ reply: 'ok' }))),
  );
  own = await tenant({ gateway, token: harness.tokens.paid }, harness.users.paid);
  others = {
    'of the same organisation': await colleague(gateway),
    'of another organisation': await tenant(
      { gateway, token: harness.tokens.enterprise },
      harness.users.enterprise,
    ),
  };
  deleted = await tenant({ gateway, token: harness.tokens.paid }, harness.users.paid);
  await call(own, 'DELETE', `/v1/conversations/${deleted.conversation}`);
}, 60_000);
afterAll(async () => {
  await Promise.all(stopPools.map((stop) => stop()));
  await harness.close();
  await Runtime.instance().shutdown();
}, 30_000);

async function tenant(caller: Caller, userId: string): Promise<Tenant> {
  const conversation = await newConversation(caller);
  const stream = await takeTurn(caller, conversation, { content: 'hello' });
  await stream.ended;
  const turn = String(stream.events[0]?.data['turn_id']);
  await call(caller, 'PATCH', `/v1/users/${userId}/memory`, { add: ['likes rain'] });
  return { ...caller, userId, conversation, turn };
}

/** Another user of the caller's own organisation. */
async function colleague(gateway: string): Promise<Tenant> {
  const [userId, token] = [randomUUID(), 'cq_colleague'];
  await rows(
    harness.turns.db,
    `insert into users (user_id, org_id, name, tier) select $1, org_id, 'colleague', 'paid' from users where user_id = $2`,
    [userId, harness.users.paid],
  );
  await rows(
    harness.turns.db,
    `insert into api_keys (key_hash, key_prefix, user_id) values ($1, 'cq_coll', $2)`,
    [createHash('sha256').update(token).digest(), userId],
  );
  return tenant({ gateway, token }, userId);
}

const idsOf = (of: Tenant): Ids => ({ id: of.conversation, turn: of.turn, user: of.userId });
const absent = (): Ids => ({ id: newTurnId(), turn: newTurnId(), user: randomUUID() });

interface Answer {
  readonly status: number;
  readonly text: string;
  /** Of headers: their names, without what says nothing of the route. */
  readonly headers: readonly string[];
}

async function ask(route: RouteRow, ids: Ids): Promise<Answer> {
  const path = PARAMETERS.reduce(
    (all, parameter) => all.replace(`:${parameter}`, ids[parameter]),
    route.path,
  );
  const body = BODIES[name(route)]?.(ids);
  const response = await fetch(own.gateway + path, {
    method: route.method.toUpperCase(),
    headers: { authorization: `Bearer ${own.token}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return {
    status: response.status,
    text: await response.text(),
    headers: [...response.headers.keys()].toSorted(),
  };
}

/** All that the API shows of somebody. */
async function seenBy(one: Tenant): Promise<string> {
  const paths = [
    `/v1/conversations/${one.conversation}`,
    `/v1/users/${one.userId}/memory`,
    `/v1/users/${one.userId}/settings`,
  ];
  const answers = await Promise.all(paths.map((path) => call(one, 'GET', path)));
  return JSON.stringify(answers.map(({ json }) => json));
}

it('knows every parameter, and a body for every route that takes one', () => {
  for (const route of WITH_ID) {
    expect(PARAMETERS).toEqual(expect.arrayContaining(parametersOf(route)));
    if (route.body !== undefined) expect(Object.keys(BODIES)).toContain(name(route));
  }
});

describe.each(WITH_ID.map((route) => [name(route), route] as const))('%s', (_name, route) => {
  it('answers for what is another’s as for what never was, and leaves it as it is', async () => {
    const nothing = await ask(route, absent());
    expect(nothing.status).toBe(404);
    for (const [whose, other] of Object.entries(others)) {
      const before = await seenBy(other);
      expect({ whose, ...(await ask(route, idsOf(other))) }).toEqual({ whose, ...nothing });
      expect(await seenBy(other)).toBe(before);
    }
  });

  it('answers for what was deleted as for what never was', async () => {
    const gone = { ...idsOf(deleted), user: randomUUID() };
    expect(await ask(route, gone)).toEqual(await ask(route, absent()));
  });

  if (parametersOf(route).includes('turn'))
    it('answers for a turn under another conversation, of one’s own too, as for one that never was', async () => {
      const nothing = await ask(route, { ...idsOf(own), turn: newTurnId() });
      expect(nothing.status).toBe(404);
      const elsewhere = await newConversation(own);
      expect(await ask(route, { ...idsOf(own), id: elsewhere })).toEqual(nothing);
      for (const other of Object.values(others))
        expect(await ask(route, { ...idsOf(own), turn: other.turn })).toEqual(nothing);
    });
});

describe('an id in a body', () => {
  const naming = [
    ['POST', 'turns', (turn: string) => ({ role: 'user', content: 'x', parent_turn_id: turn })],
    ['PATCH', '', (turn: string) => ({ active_turn_id: turn })],
  ] as const;

  it.each(naming)('%s …/%s is as absent when it is another’s', async (method, rest, bodyOf) => {
    const path = `/v1/conversations/${own.conversation}/${rest}`.replace(/\/$/, '');
    const answers = [];
    for (const turn of [newTurnId(), deleted.turn, ...Object.values(others).map((o) => o.turn)])
      answers.push(await call(own, method, path, bodyOf(turn)));
    const [{ status, json } = { status: 0, json: {} }] = answers;
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(500);
    for (const answer of answers) expect(answer).toMatchObject({ status, json });
  });
});
