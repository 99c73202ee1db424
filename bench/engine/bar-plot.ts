// A horizontal bar plot as SVG text: groups of bars, each scaled to the longest of its group, with its range.

export interface Bar {
  readonly label: string;
  readonly value: number;
  /** Least and greatest value seen. */
  readonly range?: readonly [number, number];
  /** One of ours: drawn in the accent colour. */
  readonly isOurs?: boolean;
}

export interface BarGroup {
  readonly title: string;
  readonly bars: readonly Bar[];
}

const WIDTH = 760;
const LABEL = 210;
const VALUE = 90;
const BAR = 18;
const GAP = 6;
const HEAD = 30;

/** @param unit of the values, written once under the title */
export function barPlot(title: string, unit: string, groups: readonly BarGroup[]): string {
  const parts: string[] = [];
  let y = 58;
  for (const group of groups) {
    parts.push(text(16, y + 12, group.title, 'font-weight="600"'));
    y += HEAD - 8;
    const longest = Math.max(...group.bars.map(({ value, range }) => range?.[1] ?? value));
    const scale = (value: number): number =>
      Math.max(0, (value / longest) * (WIDTH - LABEL - VALUE - 16));
    for (const { label, value, range, isOurs } of group.bars) {
      const middle = y + BAR / 2;
      parts.push(
        text(LABEL - 8, middle + 4, label, 'text-anchor="end"'),
        `<rect x="${LABEL}" y="${y}" width="${round(scale(value))}" height="${BAR}" rx="2" fill="${isOurs === true ? '#2f6fde' : '#9aa5b1'}"/>`,
      );
      if (range !== undefined) {
        const [low, high] = [LABEL + scale(range[0]), LABEL + scale(range[1])];
        parts.push(
          `<path d="M${round(low)} ${middle}H${round(high)}M${round(low)} ${middle - 4}v8M${round(high)} ${middle - 4}v8" stroke="#1b2733" fill="none"/>`,
        );
      }
      const end = LABEL + scale(range?.[1] ?? value) + 6;
      parts.push(text(round(end), middle + 4, String(significant(value)), ''));
      y += BAR + GAP;
    }
    y += 14;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" font-family="system-ui, sans-serif" font-size="12" role="img">
<title>${escape(title)}</title>
<rect width="${WIDTH}" height="${y}" fill="#ffffff"/>
${text(16, 24, title, 'font-size="15" font-weight="600"')}
${text(16, 42, unit, 'fill="#52606d"')}
${parts.join('\n')}
</svg>
`;
}

const text = (x: number, y: number, content: string, attributes: string): string =>
  `<text x="${x}" y="${y}" ${attributes}>${escape(content)}</text>`;

const escape = (content: string): string =>
  content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

const round = (value: number): number => Math.round(value * 10) / 10;

function significant(value: number): number {
  return value >= 100 ? Math.round(value) : Number(value.toPrecision(3));
}
