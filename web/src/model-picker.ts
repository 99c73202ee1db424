// Which model answers next. Remembered by this browser.
import type { AppState } from './app-state.ts';
import { byId, element } from './dom.ts';

export interface ModelPicker {
  render(state: AppState): void;
}

export function createModelPicker(onChoose: (model: string) => void): ModelPicker {
  const select = byId('model', HTMLSelectElement);
  let shown: AppState['models'] | null = null;
  select.addEventListener('change', () => onChoose(select.value));
  return {
    render: ({ models, model }) => {
      if (models !== shown) {
        shown = models;
        select.replaceChildren(...models.map(({ id }) => element('option', { value: id }, id)));
      }
      if (model !== null && select.value !== model) select.value = model;
      select.hidden = models.length === 0;
    },
  };
}
