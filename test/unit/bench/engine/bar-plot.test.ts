import { barPlot } from '../../../../bench/engine/bar-plot.ts';
import { spread } from '../../../../bench/statistics.ts';

const widths = (svg: string): number[] =>
  [...svg.matchAll(/<rect x="210"[^>]* width="([\d.]+)"/g)].map(([, width]) => Number(width));

describe('the bar plot', () => {
  it('draws bars in proportion within their group', () => {
    const svg = barPlot('t', 'u', [
      {
        title: 'one',
        bars: [
          { label: 'a', value: 10 },
          { label: 'b', value: 5 },
        ],
      },
      { title: 'two', bars: [{ label: 'c', value: 1 }] },
    ]);
    const [a = NaN, b, c] = widths(svg);
    expect(b).toBeCloseTo(a / 2, 0);
    expect(c).toBe(a);
  });

  it('escapes what it is given', () => {
    const svg = barPlot('a < b & c', 'u', [{ title: 't', bars: [{ label: '<x>', value: 1 }] }]);
    expect(svg).toContain('a &lt; b &amp; c');
    expect(svg).not.toContain('<x>');
  });
});

describe('the spread of a sample', () => {
  it('is its median, least and greatest, whatever the order', () => {
    expect(spread([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3 });
  });

  it('rounds to three significant digits', () => {
    expect(spread([1234.5, 0.123456, 1234.5])).toEqual({ median: 1230, min: 0.123, max: 1230 });
  });
});
