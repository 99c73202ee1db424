// How a long command shows what it does: on a terminal one line that is redrawn, elsewhere plain lines.

const REDRAW_MS = 120;
/** Without a terminal a long task says that it still runs, this often. */
const STILL_RUNNING_MS = 20_000;
const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/** @param {NodeJS.WriteStream} stream usually stdout */
export function createProgress(stream) {
  const isTerminal = stream.isTTY === true;
  const tasks = new Map();
  let frame = 0;
  let drawn = false;

  const erase = () => {
    if (drawn) stream.write('\r\x1b[2K');
    drawn = false;
  };
  const print = (text) => {
    erase();
    stream.write(`${text}\n`);
  };
  const redraw = () => {
    if (tasks.size === 0) return;
    frame = (frame + 1) % FRAMES.length;
    const running = [...tasks].map(([name, task]) => describe(name, task)).join(' · ');
    const text = `${FRAMES[frame]} ${running}`;
    const width = Math.max((stream.columns || 80) - 1, 20);
    erase();
    stream.write(text.length > width ? `${text.slice(0, width - 1)}…` : text);
    drawn = true;
  };
  const stillRunning = () => {
    for (const [name, task] of tasks) {
      if (Date.now() - task.since >= STILL_RUNNING_MS / 2) print(`  … ${describe(name, task)}`);
    }
  };
  const timer = setInterval(
    isTerminal ? redraw : stillRunning,
    isTerminal ? REDRAW_MS : STILL_RUNNING_MS,
  );
  timer.unref();

  return {
    begin(name) {
      tasks.set(name, { since: Date.now(), note: '' });
      if (!isTerminal) print(`  ${name}`);
    },
    /** @param note words, or {bytes, totalBytes} */
    update(name, note) {
      const task = tasks.get(name);
      if (task !== undefined) task.note = typeof note === 'string' ? note : megabytes(note);
    },
    done(name, note = '') {
      const task = tasks.get(name);
      if (task === undefined) return;
      tasks.delete(name);
      const details = [note, seconds(task)].filter((part) => part !== '').join(', ');
      print(`✓ ${name} (${details})`);
    },
    line: print,
    /** Leaves the terminal clean; tasks that still run are dropped. */
    close() {
      clearInterval(timer);
      tasks.clear();
      erase();
    },
  };
}

const describe = (name, task) =>
  [name, task.note, seconds(task)].filter((part) => part !== '').join(' ');
const seconds = (task) => `${((Date.now() - task.since) / 1000).toFixed(1)} s`;
const megabytes = ({ bytes, totalBytes }) =>
  `${(bytes / 1e6).toFixed(1)} of ${(totalBytes / 1e6).toFixed(1)} MB`;
