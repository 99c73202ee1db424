// What must be on the machine before anything can be built. Plain Node: it runs before there are any packages.
import { execFile } from 'node:child_process';

const MIN_NODE = [20, 19];

/** Tools that are run to be seen. Each hint says how to get the tool, in one line. */
const TOOLS = [
  {
    name: 'python3',
    command: ['python3', '--version'],
    hint: 'install Python 3.9 or later: "apt-get install python3", "brew install python", or python.org',
  },
  {
    name: 'pip',
    command: ['python3', '-m', 'pip', '--version'],
    hint: 'install pip for python3: "apt-get install python3-pip", or "python3 -m ensurepip"',
  },
  {
    name: 'cargo',
    command: ['cargo', '--version'],
    hint: 'install Rust: rustup.rs, or "apt-get install cargo" where that is 1.89 or later',
  },
  {
    name: 'a C linker (cc)',
    command: ['cc', '--version'],
    hint: 'install a C compiler: "apt-get install build-essential", or "xcode-select --install"',
  },
];

/** One line for each missing tool; empty when all are there. */
export async function missingTools(tools = TOOLS, nodeVersion = process.versions.node) {
  const found = await Promise.all(tools.map((tool) => runs(tool.command)));
  const missing = tools
    .filter((_, index) => !found[index])
    .map((tool) => `${tool.name} is missing: ${tool.hint}.`);
  return isRecentNode(nodeVersion) ? missing : [nodeLine(nodeVersion), ...missing];
}

function isRecentNode(version) {
  const [major, minor] = version.split('.').map(Number);
  return major > MIN_NODE[0] || (major === MIN_NODE[0] && minor >= MIN_NODE[1]);
}

function nodeLine(version) {
  return `Node ${version} is too old: install Node ${MIN_NODE.join('.')} or later from nodejs.org, or with a version manager.`;
}

function runs([command, ...args]) {
  return new Promise((resolve) => {
    execFile(command, args, { timeout: 30_000 }, (error) => resolve(error === null));
  });
}
