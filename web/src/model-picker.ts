// Which model answers next. Remembered by this browser.
import type { AppState } from './app-state.ts';
import { byId, element } from './dom.ts';

/** Stands for no choice. */
const AUTOMATIC = '';

export interface ModelPicker {
  render(state: AppState): void;
}

export function createModelPicker(onChoose: (model: string | null) => void): ModelPicker {
  const select = byId('model', HTMLSelectElement);
  let shown: AppState['models'] | null = null;
  select.addEventListener('change', () =>
    onChoose(select.value === AUTOMATIC ? null : select.value),
  );
  return {
    render: ({ models, model }) => {
      if (models !== shown) {
        shown = models;
        select.replaceChildren(
          element('option', { value: AUTOMATIC }, 'Automatic'),
          ...models.map(({ id }) => element('option', { value: id }, id)),
        );
      }
      if (select.value !== (model ?? AUTOMATIC)) select.value = model ?? AUTOMATIC;
      select.hidden = models.length === 0;
    },
  };
}
