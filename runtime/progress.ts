// What a start tells whoever watches: tasks that begin, grow and end, and single lines.

/** A task's name is its key: `update` and `done` of a name follow its `begin`. */
export interface Progress {
  begin(task: string): void;
  /** @param note a few words, or the bytes so far of the bytes expected */
  update(
    task: string,
    note: string | { readonly bytes: number; readonly totalBytes: number },
  ): void;
  done(task: string, note?: string): void;
  line(text: string): void;
}

export const SILENT: Progress = {
  begin: () => {},
  update: () => {},
  done: () => {},
  line: () => {},
};

/** Runs `work` as a task. A throw ends it without `done`; the caller says what failed. */
export async function withTask<Result>(
  progress: Progress,
  task: string,
  work: () => Promise<Result>,
): Promise<Result> {
  progress.begin(task);
  const result = await work();
  progress.done(task);
  return result;
}
