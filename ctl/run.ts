import { type Command, CommanderError } from 'commander';
import { hasCode, messageOf, OperationalError, VERSION } from '#core';
import { type Io, painter, printable } from './io.ts';
import { createProgram } from './program.ts';

/** Runs one command line and gives its exit status: 0 done, 1 failed, 2 wrong usage. */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  let status = 0;
  const program = createProgram(io, (result) => {
    status = result;
  });
  try {
    if (isVersion(argv)) {
      io.stdout.write(`${VERSION}\n`);
      return 0;
    }
    if (argv.length === 0) {
      program.outputHelp();
      return 2;
    }
    await program.parseAsync([...argv], { from: 'user' });
    return status;
  } catch (error) {
    return fail(error, io, program, argv);
  }
}

const isVersion = (argv: readonly string[]): boolean => argv.length === 1 && ['--version', '-V'].includes(argv[0]);

function fail(error: unknown, io: Io, program: Command, argv: readonly string[]): number {
  if (error instanceof CommanderError) {
    // --help ends as an error of its own.
    if (error.exitCode === 0) return 0;
    say(io, `${usageMessage(error.message)}; see '${commandPath(program, argv)} --help'`);
    return 2;
  }
  if (error instanceof OperationalError) {
    say(io, error.message);
    return hasCode(error, 'CONFIG') ? 2 : 1;
  }
  say(io, `${messageOf(error)} (this is a defect of tsnetctl)`);
  if (io.env.TSNET_DEBUG && error instanceof Error) io.stderr.write(`${error.stack}\n`);
  return 1;
}

/** Each line of a message is a line of its own with the program's name. */
function say(io: Io, message: string): void {
  const name = painter(io.stderr, io.env)('red', 'tsnetctl:');
  for (const line of message.split('\n')) io.stderr.write(`${name} ${printable(line)}\n`);
}

/** commander's two lines as one. */
const usageMessage = (message: string): string =>
  message
    .replace(/^error: /, '')
    .replace(
      /\s*\n\s*\(?(Did you mean.*?)\)?$/s,
      (_, hint: string) => `, ${hint.replace(/^Did you mean (?:one of )?(.*)\?$/, "did you mean '$1'?")}`,
    )
    .replace(/\.$/, '')
    .replace(/\s*\n\s*/g, ' ');

/** `tsnetctl bgp peers`, as far as the words name commands. */
function commandPath(program: Command, argv: readonly string[]): string {
  let command = program;
  const path = [program.name()];
  for (const word of argv) {
    const next = command.commands.find((c) => c.name() === word);
    if (!next) continue;
    command = next;
    path.push(word);
  }
  return path.join(' ');
}
