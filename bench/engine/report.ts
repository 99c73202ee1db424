// One bench's report: a JSON line for each finding as it comes, then Markdown tables and an SVG plot of them all.
import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { barPlot } from './bar-plot.ts';
import type { BarGroup } from './bar-plot.ts';
import { machine } from './machine.ts';

export class Report {
  readonly #path: string;

  /** @param name of the bench, and of its files in `folder` */
  constructor(folder: string, name: string) {
    this.#path = join(folder, name);
    for (const kind of ['jsonl', 'md']) writeFileSync(`${this.#path}.${kind}`, '');
    this.line({ bench: name, ...machine() });
  }

  line(finding: object): void {
    process.stdout.write(`${JSON.stringify(finding)}\n`);
    this.keep(finding);
  }

  /** As line(), but printed before: a finding of an earlier run. */
  keep(finding: object): void {
    appendFileSync(`${this.#path}.jsonl`, `${JSON.stringify(finding)}\n`);
  }

  /** One more table. @param rows the first is the header */
  table(rows: readonly (readonly (string | number)[])[]): void {
    const lines = rows.map((row) => `| ${row.join(' | ')} |`);
    lines.splice(1, 0, `|${' --- |'.repeat(rows[0]?.length ?? 0)}`);
    const text = `\n${lines.join('\n')}\n`;
    process.stdout.write(text);
    appendFileSync(`${this.#path}.md`, text);
  }

  plot(title: string, unit: string, groups: readonly BarGroup[]): void {
    writeFileSync(`${this.#path}.svg`, barPlot(title, unit, groups));
  }
}
