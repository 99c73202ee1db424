// Markdown that grows: only blocks that changed are made anew, so what a reader has selected above stays, and a long
// answer costs no more per token than its last paragraph.
import { parseBlocks, renderBlock } from './markdown.ts';

export interface StreamedMarkdown {
  readonly element: HTMLElement;
  /** Shows `text`, of which an earlier call may have shown a beginning. */
  update(text: string): void;
}

export function createStreamedMarkdown(): StreamedMarkdown {
  const root = document.createElement('div');
  root.className = 'markdown';
  let shown: string | null = null;
  let blocks: { raw: string; numNodes: number }[] = [];
  let numLinks = 0;
  return {
    element: root,
    update: (text) => {
      if (text === shown) return;
      shown = text;
      const tokens = parseBlocks(text);
      // A new link definition may turn text far above it into a link.
      const links = Object.keys(tokens.links).length;
      const known = links === numLinks ? blocks : [];
      numLinks = links;
      let numSame = 0;
      let numKept = 0;
      for (; numSame < known.length && known[numSame]?.raw === tokens[numSame]?.raw; numSame += 1)
        numKept += known[numSame]?.numNodes ?? 0;
      while (root.childNodes.length > numKept) root.lastChild?.remove();
      blocks = known.slice(0, numSame);
      for (const token of tokens.slice(numSame)) {
        const fragment = renderBlock(token);
        blocks.push({ raw: token.raw, numNodes: fragment.childNodes.length });
        root.append(fragment);
      }
    },
  };
}
