import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { OperationalError } from '#core';
import type { Resources, Store, StoreConfig } from '#datastore';
import { type Credential, type Datastore, readConfig } from './config.ts';
import type { Io } from './io.ts';

/** Flags that every verb takes. */
export interface Globals {
  readonly config?: string;
  readonly socket?: string;
}

/** What a verb is given: the world, and the flags before it. */
export interface Session {
  readonly io: Io;
  readonly globals: Globals;
}

/** Opens the datastore for as long as `use` takes. */
export async function withStore<T>({ io, globals }: Session, use: (store: Store) => Promise<T>): Promise<T> {
  if (io.openStore) return use(await io.openStore());
  const settings = await readConfig(globals.config, io);
  if (settings.type === 'directory' && !existsSync(resolve(io.cwd, settings.directory)))
    throw new OperationalError(
      'CONFIG',
      `the directory ${settings.directory} does not exist; set ETCD_ENDPOINTS, or TSNET_DIRECTORY to a directory of resource files`,
    );
  const [{ openStore }, { silentLog }] = await Promise.all([import('#datastore'), import('#core')]);
  const cleaning: (() => Promise<void>)[] = [];
  try {
    const store = await openStore(await storeConfig(settings, io.cwd, cleaning), {
      clock: io.clock,
      log: silentLog,
      brief: true,
    });
    cleaning.unshift(() => store.close());
    tellFaults(io, store);
    return await use(store);
  } finally {
    for (const clean of cleaning) await clean();
  }
}

/** Files of a directory that are wrong: what they last said rightly still counts, which nobody would guess from what a verb prints. */
function tellFaults(io: Io, store: Store): void {
  const end = store.watchFaults?.((where, fault) => {
    if (fault) warn(io, `${where} ${fault.message}; what it last said rightly counts`);
  });
  end?.();
}

/** The settings in the store's terms; credentials given as text are put into files that only we can read, for as long as needed. */
async function storeConfig(settings: Datastore, cwd: string, cleaning: (() => Promise<void>)[]): Promise<StoreConfig> {
  if (settings.type === 'directory') return { type: 'directory', directory: resolve(cwd, settings.directory) };
  const { endpoints, discoverySrv, username, password, tls } = settings;
  let directory: string | undefined;
  const fileOf = async (name: string, credential: Credential | undefined): Promise<string | undefined> => {
    if (!credential) return undefined;
    if ('file' in credential) return resolve(cwd, credential.file);
    if (!directory) {
      const made = await mkdtemp(join(tmpdir(), 'tsnetctl-'));
      directory = made;
      cleaning.push(() => rm(made, { recursive: true, force: true }));
    }
    const path = join(directory, name);
    await writeFile(path, credential.pem, { mode: 0o600 });
    return path;
  };
  const files = {
    caFile: await fileOf('ca.pem', tls.ca),
    certFile: await fileOf('cert.pem', tls.cert),
    keyFile: await fileOf('key.pem', tls.key),
  };
  return { type: 'etcdv3', endpoints, discoverySrv, username, password, ...files };
}

/** Opens the datastore as a client of resources. */
export async function withResources<T>(session: Session, use: (resources: Resources) => Promise<T>): Promise<T> {
  const { createResources } = await import('#datastore');
  return withStore(session, (store) => use(createResources(store, session.io.clock)));
}

/** A line of warning: the verb goes on. */
export const warn = (io: Io, text: string): void => {
  io.stderr.write(`tsnetctl: warning: ${text}\n`);
};
