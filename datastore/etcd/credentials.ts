import { readFileSync, statSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { type ChannelCredentials, credentials } from '@grpc/grpc-js';
import { type Log, messageOf, OperationalError } from '#core';
import type { EtcdConfig } from '../open.ts';

/**
 * The credentials of connections to etcd. Files that change give new credentials to connections made from then on; while they are
 * half-written or wrong, the last good ones stay.
 */
export class Credentials {
  readonly #files: { readonly ca?: string; readonly cert?: string; readonly key?: string };
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
    if (Boolean(config.certFile) !== Boolean(config.keyFile))
      throw new OperationalError('CONFIG', 'etcd client certificate and key must be given together');
    this.#files = { ca: config.caFile, cert: config.certFile, key: config.keyFile };
    this.#secure = secure > 0;
    this.#log = log;
    try {
      this.#seen = this.#fingerprint();
      this.#current = this.#read();
    } catch (error) {
      throw new OperationalError('CONFIG', `etcd TLS files cannot be used: ${messageOf(error)}`, { cause: error });
    }
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
    return Object.values(this.#files)
      .map((file) => {
        if (!file) return '';
        const { mtimeMs, size, ino } = statSync(file);
        return `${mtimeMs}/${size}/${ino}`;
      })
      .join(' ');
  }

  #read(): ChannelCredentials {
    if (!this.#secure) return credentials.createInsecure();
    const of = (file: string | undefined) => (file ? readFileSync(file) : undefined);
    const [ca, key, cert] = [of(this.#files.ca), of(this.#files.key), of(this.#files.cert)];
    // A key that does not fit its certificate is refused here, where it can be said, and not at the next connection.
    createSecureContext({ ca, key, cert });
    return credentials.createSsl(ca ?? null, key ?? null, cert ?? null);
  }
}
