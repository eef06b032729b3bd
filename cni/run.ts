import { assertNever, messageOf, VERSION } from '#core';
import { add } from './add.ts';
import { type AttachmentCall, forAttachment, type World, withCall } from './call.ts';
import { check } from './check.ts';
import { type Conf, parseConf } from './conf.ts';
import { del } from './del.ts';
import { asCniError, CNI_CODE, CniError } from './error.ts';
import { collectGarbage } from './gc.ts';
import { createJournal, type Journal } from './journal.ts';
import { attachmentOf, commandOf } from './request.ts';
import { encodeResult } from './result.ts';
import { status } from './status.ts';
import { CNI_VERSIONS, cniVersion } from './version.ts';

/** The process: what main gives, and what tests give instead. */
export interface Process extends World {
  stdin(): Promise<string>;
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
}

const USAGE = `tsnet-cni ${VERSION}: a CNI plugin (ADD, DEL, CHECK, GC, STATUS, VERSION), run by a container runtime with CNI_COMMAND
and the other variables of the specification set, and the network configuration on standard input.
  --help     this text
  --version  its version
`;

/** Runs one command and gives the exit status: 0 done, 1 failed, 2 wrong usage. */
export async function run(argv: readonly string[], process: Process): Promise<number> {
  const { env, stdout, stderr } = process;
  if (argv.length > 0 || !env.CNI_COMMAND) return usage(argv, process);
  let conf: Conf | null = null;
  let journal: Journal | null = null;
  try {
    const command = commandOf(env);
    const input = await process.stdin();
    if (command === 'VERSION') {
      stdout.write(`${JSON.stringify(versions(input))}\n`);
      return 0;
    }
    conf = parseConf(input);
    journal = createJournal(conf, process.clock, stderr);
    const answer = await serve(command, { ...process, conf, input, journal });
    if (answer) stdout.write(`${JSON.stringify(answer)}\n`);
    return 0;
  } catch (error) {
    const { code, message, details } = asCniError(error);
    journal?.write('error', { command: env.CNI_COMMAND, container: env.CNI_CONTAINERID, code, details }, message);
    const failure = { cniVersion: conf?.cniVersion ?? '1.0.0', code, msg: message, ...(details ? { details } : {}) };
    stdout.write(`${JSON.stringify(failure)}\n`);
    if (!journal) stderr.write(`tsnet-cni: ${message}\n`);
    return 1;
  }
}

function usage(argv: readonly string[], { stdout, stderr }: Process): number {
  if (argv.includes('--version')) stdout.write(`${VERSION}\n`);
  else if (argv.includes('--help')) stdout.write(USAGE);
  else {
    stderr.write("tsnet-cni: CNI_COMMAND is not set; a container runtime runs this program, see 'tsnet-cni --help'\n");
    return 2;
  }
  return 0;
}

/** VERSION answers in the version that it is asked in; some runtimes ask with nothing. */
function versions(input: string): object {
  let asked: string | undefined;
  try {
    asked = input.trim() === '' ? '1.1.0' : cniVersion((JSON.parse(input) as { cniVersion?: unknown }).cniVersion);
  } catch (error) {
    if (error instanceof CniError) asked = '1.1.0';
    else throw new CniError(CNI_CODE.decode, `the network configuration is no JSON: ${messageOf(error)}`);
  }
  return { cniVersion: asked, supportedVersions: CNI_VERSIONS };
}

type Base = World & { readonly conf: Conf; readonly input: string; readonly journal: Journal };

async function serve(command: Exclude<ReturnType<typeof commandOf>, 'VERSION'>, base: Base): Promise<object | null> {
  const { conf, env } = base;
  const attached = <T>(name: 'ADD' | 'DEL' | 'CHECK', use: (call: AttachmentCall) => Promise<T>) => {
    const attachment = attachmentOf(env, name);
    return withCall(base, (call) => use(forAttachment(call, attachment)));
  };
  switch (command) {
    case 'ADD':
      return encodeResult(await attached('ADD', add), conf.cniVersion);
    case 'DEL':
      await attached('DEL', del);
      return null;
    case 'CHECK':
      await attached('CHECK', check);
      return null;
    case 'GC':
      await withCall(base, collectGarbage);
      return null;
    case 'STATUS':
      await withCall(base, status);
      return null;
    default:
      return assertNever(command);
  }
}
