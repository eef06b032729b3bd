import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { run } from '../../deploy/lab/index.ts';
import { copyBase, type Machine, runInside } from './debian.ts';

/** The steps of a Dockerfile, done in directories by Debian's tools. An instruction that is not known here is an error: nothing is passed over. */

export interface Instruction {
  readonly word: string;
  readonly rest: string;
}

/** What a Dockerfile leaves: a file system, and how its program is started. */
export interface Image {
  readonly rootfs: string;
  readonly env: Readonly<Record<string, string>>;
  readonly workdir: string;
  readonly user: string;
  readonly entrypoint: readonly string[];
}

/** Docker's own PATH, where an image says nothing. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Comments go, continued lines become one. */
export function parseDockerfile(text: string): Instruction[] {
  return text
    .replaceAll(/^\s*#.*\n/gm, '')
    .replaceAll(/\\\n/g, ' ')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [, word, rest] = /^(\w+)\s+(.*)$/.exec(line.trim()) ?? [];
      if (!word) throw new Error(`Dockerfile: what is ${JSON.stringify(line)}?`);
      return { word: word.toUpperCase(), rest };
    });
}

/** Builds every stage under `scratch`; the last one is the image. */
export async function buildImage(dockerfile: string, context: string, scratch: string): Promise<Image> {
  const stages = new Map<string, Stage>();
  let stage: Stage | undefined;
  for (const { word, rest } of parseDockerfile(readFileSync(dockerfile, 'utf8'))) {
    if (word === 'FROM') {
      const [, from, name = String(stages.size)] = /^(\S+)(?: AS (\S+))?$/i.exec(rest) ?? [];
      stage = new Stage(await copyBase(from, join(scratch, name)), context, stages);
      stages.set(name, stage);
    } else if (stage) await stage.do(word, rest);
    else throw new Error(`Dockerfile: ${word} before FROM`);
  }
  if (!stage) throw new Error('Dockerfile: no FROM');
  return stage.image();
}

class Stage {
  readonly #machine: Machine;
  readonly #context: string;
  readonly #stages: ReadonlyMap<string, Stage>;
  #env: Record<string, string> = { PATH };
  #workdir = '/';
  #user = '';
  #entrypoint: string[] = [];

  constructor(machine: Machine, context: string, stages: ReadonlyMap<string, Stage>) {
    this.#machine = machine;
    this.#context = context;
    this.#stages = stages;
  }
  image(): Image {
    const { rootfs } = this.#machine;
    return { rootfs, env: this.#env, workdir: this.#workdir, user: this.#user, entrypoint: this.#entrypoint };
  }
  async do(word: string, rest: string): Promise<void> {
    if (word === 'WORKDIR') {
      this.#workdir = resolve(this.#workdir, rest);
      await run(['mkdir', '-p', this.#path('')]);
    } else if (word === 'RUN') await runInside(this.#machine, { env: this.#env, cwd: this.#workdir, line: rest });
    else if (word === 'COPY') await this.#copy(rest.split(/\s+/));
    else if (word === 'ENV') for (const pair of rest.split(/\s+/)) this.#setEnv(pair);
    else if (word === 'USER') this.#user = rest;
    else if (word === 'ENTRYPOINT') this.#entrypoint = JSON.parse(rest);
    else throw new Error(`Dockerfile: no word here for ${word} ${rest}`);
  }
  #setEnv(pair: string): void {
    const [, key, value] = /^(\w+)=(.*)$/.exec(pair) ?? [];
    if (!key) throw new Error(`Dockerfile: ENV ${pair}`);
    this.#env = { ...this.#env, [key]: value.replaceAll(/\$(\w+)/g, (_, name) => this.#env[name] ?? '') };
  }
  /** A path of this stage, from its working directory. */
  #path(path: string): string {
    return join(this.#machine.rootfs, resolve(this.#workdir, path));
  }
  /** Of a directory its contents are copied; a file goes into a place that ends in a slash, else under the name that is given. */
  async #copy(words: readonly string[]): Promise<void> {
    const from = /^--from=(.*)$/.exec(words[0])?.[1];
    const paths = words.slice(from === undefined ? 0 : 1, -1);
    const into = words.at(-1) ?? '';
    const to = this.#path(into);
    for (const path of paths) {
      const isContext = from === undefined && resolve(this.#context, path) === resolve(this.#context);
      const source = from === undefined ? join(this.#context, path) : this.#stage(from).#path(path);
      if (statSync(source).isDirectory()) {
        const names = isContext ? notIgnored(source) : readdirSync(source);
        await run(['mkdir', '-p', to]);
        await run(['cp', '-a', '--no-preserve=ownership', ...names.map((name) => join(source, name)), to]);
      } else {
        const place = into.endsWith('/') ? join(to, basename(path)) : to;
        await run(['mkdir', '-p', dirname(place)]);
        await run(['cp', '-a', '--no-preserve=ownership', source, place]);
      }
    }
  }
  #stage(name: string): Stage {
    const stage = this.#stages.get(name);
    if (!stage) throw new Error(`Dockerfile: COPY --from=${name}, a stage that is not there`);
    return stage;
  }
}

/** What of the context's top level .dockerignore lets through; its patterns here are names without a slash. */
function notIgnored(context: string): string[] {
  const patterns = readFileSync(join(context, '.dockerignore'), 'utf8').split('\n').filter(Boolean);
  const odd = patterns.find((pattern) => /[/!?[]/.test(pattern));
  if (odd) throw new Error(`.dockerignore: ${odd} is more than is read here`);
  const ignored = patterns.map((p) => new RegExp(`^${p.replaceAll('.', '\\.').replaceAll('*', '.*')}$`));
  return readdirSync(context).filter((name) => !ignored.some((pattern) => pattern.test(name)));
}
