import { statSync } from 'node:fs';
import { type ChannelCredentials, credentials } from '@grpc/grpc-js';
import { type Log, messageOf, OperationalError } from '#core';
import type { EtcdConfig } from '../open.ts';
import { readTlsFiles } from './tls-files.ts';

/**
 * The credentials of connections to etcd. Files that change give new credentials to connections made from then on; while they are
 * half-written or wrong, the last good ones stay.
 */
export class Credentials {
  readonly #config: EtcdConfig;
  readonly #secure: boolean;
  readonly #log: Log;
  #seen = '';
  #current: ChannelCredentials;

  /** Throws CONFIG when the files cannot be used. */
  constructor(config: EtcdConfig, log: Log) {
    const secure = config.endpoints.filter((endpoint) => endpoint.startsWith('https:')).length;
    if (config.endpoints.length === 0) throw new OperationalError('CONFIG', 'no etcd endpoints are given');
    if (secure > 0 && secure < config.endpoints.length)
      throw new OperationalError('CONFIG', 'etcd endpoints must be all https: or all http:');
    this.#config = config;
    this.#secure = secure > 0;
    this.#log = log;
    this.#seen = this.#fingerprint();
    this.#current = this.#read();
  }

  get current(): ChannelCredentials {
    return this.#current;
  }

  /** Looks at the files; true when there are new credentials. */
  refresh(): boolean {
    if (!this.#secure) return false;
    try {
      const now = this.#fingerprint();
      if (now === this.#seen) return false;
      this.#current = this.#read();
      this.#seen = now;
      this.#log.info('etcd TLS files changed; new connections use them');
      return true;
    } catch (error) {
      this.#log.warn({ reason: messageOf(error) }, 'etcd TLS files cannot be read; the last good ones stay in use');
      return false;
    }
  }

  #fingerprint(): string {
    const { caFile, certFile, keyFile } = this.#config;
    return [caFile, certFile, keyFile]
      .map((file) => {
        const stat = file ? statSync(file, { throwIfNoEntry: false }) : undefined;
        return stat ? `${stat.mtimeMs}/${stat.size}/${stat.ino}` : '';
      })
      .join(' ');
  }

  #read(): ChannelCredentials {
    if (!this.#secure) return credentials.createInsecure();
    const { ca, key, cert } = readTlsFiles(this.#config);
    return credentials.createSsl(ca ?? null, key ?? null, cert ?? null);
  }
}
