// A model's markdown as safe DOM. Raw HTML in it stays text; what marked makes goes through DOMPurify last; images from
// elsewhere become links, because the page loads nothing from anywhere else.
import DOMPurify from '/vendor/dompurify.js';
import { Marked } from '/vendor/marked.js';
import type { Token, TokensList } from '/vendor/marked.js';
import { addCodeTools } from './code-block.ts';

const ALLOWED_TAGS = [
  ...['p', 'br', 'hr', 'strong', 'em', 'del', 'a', 'img', 'code', 'pre', 'blockquote'],
  ...[
    'h1',
    'h2',
    'h3',
    'h4',
    'h5',
    'h6',
    'ul',
    'ol',
    'li',
    'table',
    'thead',
    'tbody',
    'tr',
    'th',
    'td',
  ],
];
const ALLOWED_ATTR = ['href', 'title', 'src', 'alt', 'start', 'class', 'align'];
const ALLOWED_URI = /^(?:https?:|mailto:|data:image\/(?:png|gif|jpeg|webp);base64,)/i;

const marked = new Marked({
  gfm: true,
  breaks: false,
  renderer: {
    html: ({ text }) => (/^<br\s*\/?>$/i.test(text.trim()) ? '<br>' : escapeHtml(text)),
    checkbox: ({ checked }) => (checked ? '☑ ' : '☐ '),
    image: ({ href, text }) =>
      href.startsWith('data:')
        ? `<img src="${escapeHtml(href)}" alt="${escapeHtml(text)}">`
        : `<a href="${escapeHtml(href)}">${escapeHtml(text === '' ? 'Image' : `Image: ${text}`)}</a>`,
  },
});

/** Blocks and the definitions that links in any of them may refer to. */
export function parseBlocks(text: string): TokensList {
  return marked.lexer(text);
}

/** One block as DOM that may go into the page. */
export function renderBlock(token: Token): DocumentFragment {
  const html = marked.parser([token]);
  const fragment = DOMPurify.sanitize(html, {
    ALLOWED_TAGS,
    ALLOWED_ATTR,
    ALLOWED_URI_REGEXP: ALLOWED_URI,
    // DOMPurify holds every other attribute's value against the pattern of addresses.
    ADD_URI_SAFE_ATTR: ['align', 'start'],
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
  });
  for (const link of fragment.querySelectorAll('a')) {
    if (!link.hasAttribute('href')) {
      link.replaceWith(...link.childNodes);
      continue;
    }
    link.target = '_blank';
    link.rel = 'noopener noreferrer';
  }
  for (const pre of fragment.querySelectorAll('pre')) addCodeTools(pre);
  for (const table of fragment.querySelectorAll('table')) wrapTable(table);
  return fragment;
}

/** A wide table scrolls in its own box. */
function wrapTable(table: HTMLTableElement): void {
  const box = document.createElement('div');
  box.className = 'table-box';
  box.tabIndex = 0;
  table.replaceWith(box);
  box.append(table);
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
