// What a screen reader is told: that an answer begins, that it is there, that the line is gone. Never the tokens.
import { liveInView, pathInView } from './app-state.ts';
import type { AppState } from './app-state.ts';
import { setText } from './dom.ts';
import { finishWords } from './words.ts';

export interface Announcer {
  render(state: AppState): void;
}

export function createAnnouncer(region: HTMLElement): Announcer {
  let conversationId: string | null = null;
  let wasLive = false;
  return {
    render: (state) => {
      const live = liveInView(state);
      const isSame = state.open.id === conversationId;
      conversationId = state.open.id;
      if (live !== null)
        setText(
          region,
          live.answer.link === 'lost' ? 'The connection is lost. Reconnecting.' : 'Answering.',
        );
      else if (wasLive && isSame) setText(region, endWords(state));
      else if (!isSame) setText(region, '');
      wasLive = live !== null;
    },
  };
}

function endWords(state: AppState): string {
  const last = pathInView(state).at(-1)?.turn;
  return finishWords(last?.finish_reason ?? null, null) ?? 'The answer is complete.';
}
