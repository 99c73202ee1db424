import fc from 'fast-check';
import { loadCatalog } from '../../../contracts/catalog.ts';
import { TIERS } from '../../../contracts/turn-facts.ts';
import { chooseModel } from '../../../policy/model-choice.ts';
import { projectPath } from '../../../process/paths.ts';

const catalog = loadCatalog(projectPath('config', 'catalog.yaml'));
const wish = {
  tier: 'paid',
  requestedModel: null,
  conversationModel: null,
  reasoning: false,
} as const;

describe('chooseModel', () => {
  it('sends each tier to its default model and pool', () => {
    expect(chooseModel({ ...wish, tier: 'free' }, catalog)).toMatchObject({
      route: { model: 'colloquy-mini', pool: 'mini' },
    });
    expect(chooseModel(wish, catalog)).toMatchObject({
      route: { model: 'colloquy-default', pool: 'default' },
    });
  });

  it('prefers the request’s model to the conversation’s, and that to the default', () => {
    const both = {
      ...wish,
      requestedModel: 'colloquy-mini',
      conversationModel: 'colloquy-default',
    };
    expect(chooseModel(both, catalog)).toMatchObject({ route: { model: 'colloquy-mini' } });
    expect(
      chooseModel({ ...both, requestedModel: null, conversationModel: 'colloquy-mini' }, catalog),
    ).toMatchObject({ route: { model: 'colloquy-mini' } });
  });

  it('refuses reasoning on the free tier and gives the reasoning model to others', () => {
    expect(chooseModel({ ...wish, tier: 'free', reasoning: true }, catalog)).toMatchObject({
      why: 'forbidden',
    });
    expect(chooseModel({ ...wish, reasoning: true }, catalog)).toMatchObject({
      route: { model: 'colloquy-reasoning' },
    });
  });

  it('refuses a model of another tier as forbidden and an absent one as unknown', () => {
    expect(
      chooseModel({ ...wish, tier: 'free', requestedModel: 'colloquy-default' }, catalog),
    ).toMatchObject({ why: 'forbidden' });
    expect(chooseModel({ ...wish, requestedModel: 'nope' }, catalog)).toMatchObject({
      why: 'unknown',
    });
  });

  it('never routes to a model that the tier may not use, and is deterministic', () => {
    const models = fc.constantFrom(null, 'nope', ...Object.keys(catalog.models));
    fc.assert(
      fc.property(
        fc.constantFrom(...TIERS),
        models,
        models,
        fc.boolean(),
        (tier, requestedModel, conversationModel, reasoning) => {
          const asked = { tier, requestedModel, conversationModel, reasoning };
          const choice = chooseModel(asked, catalog);
          expect(chooseModel(asked, catalog)).toEqual(choice);
          if (!choice.isAllowed) return;
          const model = catalog.models[choice.route.model];
          expect(model?.tiers).toContain(tier);
          expect(choice.route.pool).toBe(model?.pool);
        },
      ),
    );
  });
});
