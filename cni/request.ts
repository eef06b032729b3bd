import { CNI_CODE, CniError } from './error.ts';

export const COMMANDS = ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION'] as const;
export type Command = (typeof COMMANDS)[number];

export type Environment = Readonly<Record<string, string | undefined>>;

/** What CNI_ARGS may say; unknown words are tolerated. */
export interface Args {
  readonly pod?: string;
  readonly podNamespace?: string;
  /** A fixed address. */
  readonly ip?: string;
  /** The namespace of the endpoint where no Kubernetes names one. */
  readonly namespace?: string;
}

/** The attachment that ADD, DEL and CHECK are about. */
export interface Attachment {
  readonly containerId: string;
  readonly ifname: string;
  /** The container's network namespace as a path; on DEL it may be gone, and empty. */
  readonly netns: string;
  readonly args: Args;
}

/** @throws CniError environment */
export function commandOf(env: Environment): Command {
  const command = COMMANDS.find((name) => name === env.CNI_COMMAND);
  if (command) return command;
  const shown = env.CNI_COMMAND ? JSON.stringify(env.CNI_COMMAND) : 'not set';
  throw new CniError(CNI_CODE.environment, `CNI_COMMAND is ${shown}; it must be one of ${COMMANDS.join(', ')}`);
}

/** Reads and checks the variables of the specification. @throws CniError environment, naming the variable */
export function attachmentOf(env: Environment, command: 'ADD' | 'DEL' | 'CHECK'): Attachment {
  const containerId = env.CNI_CONTAINERID ?? '';
  const ifname = env.CNI_IFNAME ?? '';
  const netns = env.CNI_NETNS ?? '';
  const wrong = (name: string, why: string) => new CniError(CNI_CODE.environment, `${name} ${why}`);
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,252}$/.test(containerId))
    throw wrong('CNI_CONTAINERID', `must be letters, digits, '_', '.' and '-'; it is ${JSON.stringify(containerId)}`);
  // The kernel allows more, but neither the datastore nor a file name does.
  if (!/^[A-Za-z0-9_.-]{1,15}$/.test(ifname) || ifname === '.' || ifname === '..')
    throw wrong('CNI_IFNAME', `must be an interface name of at most 15 characters; it is ${JSON.stringify(ifname)}`);
  if (command !== 'DEL' && netns === '') throw wrong('CNI_NETNS', `is required for ${command}`);
  if (netns !== '' && !netns.startsWith('/'))
    throw wrong('CNI_NETNS', `must be an absolute path; it is ${JSON.stringify(netns)}`);
  return { containerId, ifname, netns, args: argsOf(env.CNI_ARGS ?? '') };
}

/** `K8S_POD_NAME=web-0;K8S_POD_NAMESPACE=default`. @throws CniError environment */
export function argsOf(text: string): Args {
  const found = new Map<string, string>();
  for (const pair of text.split(';')) {
    if (pair.trim() === '') continue;
    const at = pair.indexOf('=');
    if (at <= 0)
      throw new CniError(CNI_CODE.environment, `CNI_ARGS must be KEY=VALUE;…; it has ${JSON.stringify(pair)}`);
    found.set(pair.slice(0, at).trim(), pair.slice(at + 1));
  }
  const word = (name: string) => found.get(name) || undefined;
  return {
    pod: word('K8S_POD_NAME'),
    podNamespace: word('K8S_POD_NAMESPACE'),
    ip: word('IP'),
    namespace: word('CNI_TEST_NAMESPACE'),
  };
}
