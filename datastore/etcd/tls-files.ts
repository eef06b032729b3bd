import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { messageOf, OperationalError } from '#core';
import type { EtcdConfig } from '../open.ts';

/** PEM texts of a client of etcd. */
export interface TlsFiles {
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

/** Reads the files and sees that they are what they are called and fit each other. @throws OperationalError CONFIG, naming the file */
export function readTlsFiles({ caFile, certFile, keyFile }: EtcdConfig): TlsFiles {
  const ca = read('CA certificate', caFile);
  const cert = read('client certificate', certFile);
  const key = read('key', keyFile);
  if (Boolean(cert) !== Boolean(key))
    throw new OperationalError('CONFIG', 'etcd client certificate and key must be given together');
  for (const [what, file, pem] of [
    ['CA certificate', caFile, ca],
    ['client certificate', certFile, cert],
  ] as const)
    if (pem) attempt(`etcd ${what} ${file} is no certificate in PEM`, () => new X509Certificate(pem));
  if (key) attempt(`etcd key ${keyFile} is no key in PEM`, () => createSecureContext({ key }));
  if (key) attempt(`etcd key ${keyFile} does not belong to ${certFile}`, () => createSecureContext({ cert, key }));
  return { ca, cert, key };
}

function read(what: string, file: string | undefined): Buffer | undefined {
  return file ? attempt(`etcd ${what} ${file} cannot be read`, () => readFileSync(file)) : undefined;
}

function attempt<T>(failure: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : messageOf(error);
    throw new OperationalError('CONFIG', `${failure}: ${why}`, { cause: error });
  }
}
