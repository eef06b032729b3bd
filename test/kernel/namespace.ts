import { execFileSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import koffi from 'koffi';

const CLONE_NEWNET = 0x40000000;

export interface Namespace {
  readonly name: string;
  /** Runs a shell line in the namespace and gives its output; throws with stderr if it fails. */
  sh(line: string): string;
  /** Leaves and removes it. */
  leave(): void;
}

const setns = koffi.load(null).func('int setns(int, int)');
function enter(path: string): void {
  const fd = openSync(path, 'r');
  const failed = setns(fd, CLONE_NEWNET) !== 0;
  closeSync(fd);
  if (failed) throw new Error(`setns ${path}: errno ${koffi.errno()}`);
}

/** Does something that ends at once, such as opening a socket, in the network namespace of that name. */
export function insideNamespace<T>(name: string, work: () => T): T {
  const home = `/proc/self/fd/${openSync('/proc/self/ns/net', 'r')}`;
  enter(`/var/run/netns/${name}`);
  try {
    return work();
  } finally {
    enter(home);
    closeSync(Number(home.slice(home.lastIndexOf('/') + 1)));
  }
}

/** Moves this test process (its main thread: sockets, files and children made from it) into a network namespace of its own. */
export function enterNamespace(what: string): Namespace {
  const name = `tsn-${what}-${process.pid}`;
  const home = openSync('/proc/self/ns/net', 'r');
  execFileSync('ip', ['netns', 'add', name]);
  enter(`/var/run/netns/${name}`);
  execFileSync('ip', ['link', 'set', 'lo', 'up']);
  return {
    name,
    sh: (line) => execFileSync('sh', ['-c', line], { encoding: 'utf8', maxBuffer: 64 << 20 }),
    leave: () => {
      setns(home, CLONE_NEWNET);
      closeSync(home);
      execFileSync('ip', ['netns', 'del', name]);
    },
  };
}

/** Waits until the condition holds; the message says what did not come. */
export async function until(what: string, condition: () => boolean, most = 20_000): Promise<void> {
  const end = performance.now() + most;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
