// A run as one self-contained page: its numbers, and a timeline of operations, faults and anomalies. No script, no asset
// from elsewhere.
import type { Anomaly } from './anomaly.ts';
import type { FaultOperation, Operation } from './history.ts';
import type { Summary } from './summary.ts';

export interface ReportedRun {
  readonly title: string;
  readonly command: string;
  readonly durationMs: number;
  readonly history: readonly Operation[];
  readonly summary: Summary;
  readonly anomalies: readonly Anomaly[];
  readonly allowed: readonly Anomaly[];
}

const [WIDTH, LEFT, LANE, CHART] = [1160, 170, 18, 60];
const BARS = 240;

export function reportPage(run: ReportedRun): string {
  const { title, command, summary, anomalies, allowed } = run;
  const isGood = anomalies.length === 0;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${text(title)}</title><style>
body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:${WIDTH}px;color:#1b1f24;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}code{background:#f2f4f7;padding:.1rem .3rem;border-radius:3px}
table{border-collapse:collapse}td,th{text-align:left;padding:.15rem .9rem .15rem 0;vertical-align:top;border-bottom:1px solid #e4e7ec}
.good{color:#067647}.bad{color:#b42318}svg{display:block;font:11px system-ui,sans-serif}
</style></head><body>
<h1>${text(title)}</h1>
<p class="${isGood ? 'good' : 'bad'}"><strong>${anomalies.length} anomalies</strong>${
    allowed.length === 0 ? '' : `, ${allowed.length} differences that a stated limit explains`
  }</p>
<p>Again: <code>${text(command)}</code></p>
<h2>Timeline</h2>
${timeline(run)}
<h2>Numbers</h2>
<table>${rows(summary)}</table>
${list('Anomalies', anomalies)}${list('Explained by a stated limit', allowed)}
</body></html>
`;
}

function timeline({ history, durationMs, anomalies }: ReportedRun): string {
  const last = Math.max(durationMs, ...history.map(({ end }) => end));
  const x = (at: number): number => LEFT + (Math.max(0, at) / last) * (WIDTH - LEFT - 10);
  const faults = history.filter((each): each is FaultOperation => each.op === 'fault');
  const targets = [...new Set(faults.map(({ target }) => target))].sort();
  const top = 2 * (CHART + 24);
  const height = top + targets.length * LANE + 40;
  const ends = (isIt: (each: Operation) => boolean): number[] =>
    history.filter(isIt).map(({ end }) => end);
  const parts = [
    chart('turns accepted', 0, '#1570ef', ends(isAccepted), last, x),
    chart('posts without an answer', CHART + 24, '#dc6803', ends(isUnanswered), last, x),
    ...targets.map((target, index) => lane(target, top + index * LANE, x, faults)),
    ...anomalies.flatMap(({ at, kind }) =>
      at === undefined
        ? []
        : [
            `<line x1="${px(x(at))}" x2="${px(x(at))}" y1="0" y2="${height - 20}" stroke="#b42318"><title>${text(kind)} at ${seconds(at)}</title></line>`,
          ],
    ),
    ...Array.from({ length: 11 }, (_, index) => {
      const at = (last * index) / 10;
      return `<text x="${px(x(at))}" y="${height - 4}" text-anchor="middle" fill="#667085">${seconds(at)}</text>`;
    }),
  ];
  return `<svg viewBox="0 0 ${WIDTH} ${height}" width="100%" role="img" aria-label="Operations, faults and anomalies over time">${parts.join('')}</svg>
<p>Red: killed · violet: restarted in order · blue: frozen · amber: bad network · grey: left out because its target was not there.</p>`;
}

/** A bar for each 240th of the time. */
function chart(
  name: string,
  y: number,
  colour: string,
  times: readonly number[],
  last: number,
  x: (at: number) => number,
): string {
  const bars = Array.from({ length: BARS }, () => 0);
  for (const at of times) {
    const index = Math.min(BARS - 1, Math.floor((at / last) * BARS));
    bars[index] = (bars[index] ?? 0) + 1;
  }
  const most = Math.max(1, ...bars);
  const width = x(last / BARS) - x(0);
  const perSecond = (most / (last / BARS / 1000)).toFixed(1);
  return `<text x="0" y="${y + 14}">${text(name)}</text><text x="0" y="${y + 30}" fill="#667085">${times.length}, at most ${perSecond}/s</text>${bars
    .map((count, index) => {
      const height = (count / most) * CHART;
      return count === 0
        ? ''
        : `<rect x="${px(x((index * last) / BARS))}" y="${px(y + CHART - height)}" width="${px(width)}" height="${px(height)}" fill="${colour}"/>`;
    })
    .join('')}`;
}

const COLOURS: Readonly<Record<string, string>> = {
  kill: '#d92d20',
  restart: '#7a5af8',
  freeze: '#2e90fa',
};

function lane(
  target: string,
  y: number,
  x: (at: number) => number,
  faults: readonly FaultOperation[],
): string {
  const own = faults.filter((each) => each.target === target);
  return `<text x="0" y="${y + 13}">${text(target)}</text><line x1="${LEFT}" x2="${WIDTH}" y1="${y + 9}" y2="${y + 9}" stroke="#eaecf0"/>${own
    .map(({ action, begin, end, skipped }) => {
      const colour = skipped === undefined ? (COLOURS[action] ?? '#f79009') : '#d0d5dd';
      return `<rect x="${px(x(begin))}" y="${y + 3}" width="${px(Math.max(3, x(end) - x(begin)))}" height="12" fill="${colour}"><title>${text(`${action} ${target} at ${seconds(begin)}${skipped === undefined ? '' : `: ${skipped}`}`)}</title></rect>`;
    })
    .join('')}`;
}

function rows(summary: Summary): string {
  return Object.entries(summary)
    .map(([name, value]) => {
      const shown =
        typeof value === 'object'
          ? Object.entries(value as Record<string, number>)
              .map(([key, count]) => `${key}: ${count}`)
              .join(', ')
          : String(value);
      return `<tr><th>${text(name)}</th><td>${text(shown)}</td></tr>`;
    })
    .join('');
}

function list(title: string, anomalies: readonly Anomaly[]): string {
  if (anomalies.length === 0) return '';
  const lines = anomalies.map(
    ({ kind, at, conversation = '', turnId = '', detail }) =>
      `<tr><td>${at === undefined ? '' : seconds(at)}</td><td>${text(kind)}</td><td>${text(detail)}</td><td>${text(turnId || conversation)}</td></tr>`,
  );
  return `<h2>${text(title)}</h2><table>${lines.join('')}</table>`;
}

const isAccepted = (each: Operation): boolean => each.op === 'post' && each.outcome === 'accepted';
const isUnanswered = (each: Operation): boolean => each.op === 'post' && each.outcome === 'unknown';
const px = (value: number): string => value.toFixed(1);
const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

function text(value: string): string {
  return value.replace(/[&<>"]/g, (each) => `&#${each.charCodeAt(0)};`);
}
