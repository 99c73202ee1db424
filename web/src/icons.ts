// The page's icons: strokes on a 20 × 20 grid, in the colour of the text around them.
import { element } from './dom.ts';

const PATHS = {
  copy: ['M7.5 7.5h8v9h-8z', 'M12.5 7.5v-4h-8v9h3'],
  check: ['M4 10.5l4 4 8-9'],
  again: ['M16 10a6 6 0 1 1-1.9-4.4', 'M16 3v3.4h-3.4'],
  edit: [
    'M4 16l.7-3.3 8.6-8.6a1.4 1.4 0 0 1 2 0l.6.6a1.4 1.4 0 0 1 0 2L7.300 15.300z',
    'M11.800 5.600l2.600 2.600',
  ],
  trash: ['M4 5.500h12', 'M8 5.500v-2h4v2', 'M5.500 5.500l.7 11h7.600l.7-11'],
  left: ['M12 4.500L6.500 10l5.500 5.500'],
  right: ['M8 4.500l5.500 5.500L8 15.500'],
  send: ['M10 16.500v-12', 'M4.800 9.500L10 4.300l5.200 5.200'],
  stop: ['M6.500 6.500h7v7h-7z'],
  plus: ['M10 4v12', 'M4 10h12'],
  menu: ['M3.500 6h13', 'M3.500 10h13', 'M3.500 14h13'],
  sun: [
    'M10 7a3 3 0 1 1 0 6a3 3 0 0 1 0-6z',
    'M10 2v1.800',
    'M10 16.200V18',
    'M2 10h1.800',
    'M16.200 10H18',
    'M4.300 4.300l1.300 1.300',
    'M14.400 14.400l1.300 1.300',
    'M15.700 4.300l-1.300 1.300',
    'M5.600 14.400l-1.300 1.300',
  ],
  moon: ['M16.500 11.700A7 7 0 0 1 8.300 3.500a7 7 0 1 0 8.200 8.200z'],
  auto: ['M3 4h14v9.500H3z', 'M7.500 16.800h5', 'M10 13.500v3.300'],
  down: ['M10 4v12', 'M4.800 10.800L10 16l5.200-5.200'],
  memory: ['M5 3.500h10v13l-5-3.200l-5 3.200z'],
  exit: ['M8 4H4.500v12H8', 'M9 10h7.500', 'M13.500 6.800L16.700 10l-3.200 3.200'],
} as const;

export type IconName = keyof typeof PATHS;

const SVG = 'http://www.w3.org/2000/svg';

/** A decoration: what it is on carries the words. */
export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 20 20');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  for (const d of PATHS[name]) {
    const path = document.createElementNS(SVG, 'path');
    path.setAttribute('d', d);
    svg.append(path);
  }
  return svg;
}

/** A button that shows an icon and says `label`. */
export function iconButton(name: IconName, label: string, onClick: () => void): HTMLButtonElement {
  const button = element('button', {
    type: 'button',
    class: 'icon-button',
    'aria-label': label,
    title: label,
  });
  button.append(icon(name));
  button.addEventListener('click', onClick);
  return button;
}
