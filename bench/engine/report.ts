// One bench's report: a JSON line for each finding as it comes, then a Markdown table and an SVG plot of them all.
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
    writeFileSync(`${this.#path}.jsonl`, '');
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

  /** @param rows the first is the header */
  table(rows: readonly (readonly (string | number)[])[]): void {
    const lines = rows.map((row) => `| ${row.join(' | ')} |`);
    lines.splice(1, 0, `|${' --- |'.repeat(rows[0]?.length ?? 0)}`);
    const text = `${lines.join('\n')}\n`;
    process.stdout.write(`\n${text}`);
    writeFileSync(`${this.#path}.md`, text);
  }

  plot(title: string, unit: string, groups: readonly BarGroup[]): void {
    writeFileSync(`${this.#path}.svg`, barPlot(title, unit, groups));
  }
}
