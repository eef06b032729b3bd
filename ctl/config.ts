import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { messageOf, nearest, OperationalError } from '#core';
import { readSource, type SourceDocument } from '#datastore';
import type { Io } from './io.ts';

export const DEFAULT_CONFIG = '/etc/calico/calicoctl.cfg';
const DEFAULT_DIRECTORY = '/etc/tsnet/resources';

/** Keys of `spec` with the variable that says the same; null: only in the file. */
const KEYS = {
  datastoreType: 'DATASTORE_TYPE',
  etcdEndpoints: 'ETCD_ENDPOINTS',
  etcdDiscoverySrv: 'ETCD_DISCOVERY_SRV',
  etcdUsername: 'ETCD_USERNAME',
  etcdPassword: 'ETCD_PASSWORD',
  etcdKeyFile: 'ETCD_KEY_FILE',
  etcdCertFile: 'ETCD_CERT_FILE',
  etcdCACertFile: 'ETCD_CA_CERT_FILE',
  etcdKey: null,
  etcdCert: null,
  etcdCACert: null,
  directory: 'TSNET_DIRECTORY',
} as const;
type Key = keyof typeof KEYS;
type Settings = Partial<Record<Key, string>>;

/** Understood by calicoctl for the Kubernetes datastore, which tsnet does not have. */
const IGNORED = [
  'kubeconfig',
  'kubeconfigInline',
  'k8sAPIEndpoint',
  'k8sKeyFile',
  'k8sCertFile',
  'k8sCAFile',
  'k8sAPIToken',
  'k8sInsecureSkipTLSVerify',
  'k8sDisableNodePoll',
  'k8sUsePodCIDR',
  'k8sCurrentContext',
  'k8sClientQPS',
];

/** Which datastore to speak to, and how. */
export type Datastore =
  | { readonly type: 'directory'; readonly directory: string }
  | {
      readonly type: 'etcdv3';
      readonly endpoints: readonly string[];
      readonly discoverySrv?: string;
      readonly username?: string;
      readonly password?: string;
      readonly tls: { readonly ca?: Credential; readonly cert?: Credential; readonly key?: Credential };
    };
/** A PEM, by path or as text. */
export type Credential = { readonly file: string } | { readonly pem: string };

/**
 * The configuration as calicoctl finds it: the file that `-c` names; else /etc/calico/calicoctl.cfg; else, when that cannot be read, the
 * environment, where a `CALICO_` prefix comes first. File and environment are never mixed.
 */
export async function readConfig(file: string | undefined, io: Io): Promise<Datastore> {
  const path = file ?? DEFAULT_CONFIG;
  let text: string;
  try {
    text = await readFile(resolve(io.cwd, path), 'utf8');
  } catch (error) {
    if (file !== undefined)
      throw new OperationalError('CONFIG', `cannot read configuration ${path}: ${messageOf(error)}`);
    return interpret(fromEnvironment(io.env), 'the environment');
  }
  return interpret(await fromFile(path, text), path);
}

function fromEnvironment(env: Io['env']): Settings {
  const settings: Settings = {};
  for (const [key, name] of Object.entries(KEYS)) {
    const value = name && (env[`CALICO_${name}`] || env[name]);
    if (value) settings[key as Key] = value;
  }
  return settings;
}

async function fromFile(path: string, text: string): Promise<Settings> {
  const { documents, faults } = await readSource(path, text);
  const fault = faults[0];
  if (fault) throw new OperationalError('CONFIG', `${path}:${fault.line}: ${fault.message}`);
  const document = documents[0];
  if (!document) return {};
  const top = record(document, document.value, '');
  const known = { apiVersion: 'projectcalico.org/v3', kind: 'CalicoAPIConfig' } as const;
  for (const [field, right] of Object.entries(known))
    if (top[field] !== right) refuse(document, field, `must be ${right}`);
  for (const field of Object.keys(top))
    if (!['apiVersion', 'kind', 'metadata', 'spec'].includes(field))
      refuseUnknown(document, field, field, ['spec', 'metadata']);
  return specOf(document, record(document, top.spec ?? {}, 'spec'));
}

function specOf(document: SourceDocument, spec: Record<string, unknown>): Settings {
  const settings: Settings = {};
  for (const [field, value] of Object.entries(spec)) {
    if (IGNORED.includes(field)) continue;
    if (!Object.hasOwn(KEYS, field)) refuseUnknown(document, `spec.${field}`, field, Object.keys(KEYS));
    if (value === null || value === '') continue;
    if (typeof value !== 'string') refuse(document, `spec.${field}`, 'must be a text');
    settings[field as Key] = value as string;
  }
  return settings;
}

function record(document: SourceDocument, value: unknown, field: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(document, field, 'must be an object');
  return value as Record<string, unknown>;
}

function refuse(document: SourceDocument, field: string, message: string): never {
  const { file, line } = document.locate(field);
  throw new OperationalError('CONFIG', `${file}:${line}: ${field || 'configuration'} ${message}`);
}

function refuseUnknown(document: SourceDocument, field: string, word: string, known: string[]): never {
  const near = nearest(word, known);
  return refuse(document, field, `is not a key of the configuration${near ? `; did you mean '${near}'?` : ''}`);
}

function interpret(settings: Settings, source: string): Datastore {
  const { etcdEndpoints, etcdDiscoverySrv } = settings;
  const type = (settings.datastoreType ?? (etcdEndpoints || etcdDiscoverySrv ? 'etcdv3' : 'directory')).toLowerCase();
  const wrong = (message: string) => new OperationalError('CONFIG', `${source}: ${message}`);
  if (type === 'directory') return { type, directory: settings.directory ?? DEFAULT_DIRECTORY };
  if (type === 'kubernetes') throw wrong("datastore type 'kubernetes' is not supported; use etcdv3 or directory");
  if (type !== 'etcdv3') throw wrong(`datastore type '${type}' is unknown; use etcdv3 or directory`);
  if (etcdEndpoints && etcdDiscoverySrv) throw wrong('give etcd endpoints or a discovery domain, not both');
  const urls = (etcdEndpoints ?? '')
    .split(',')
    .map((url) => url.trim())
    .filter((url) => url !== '');
  if (urls.length === 0 && !etcdDiscoverySrv)
    throw wrong('no etcd endpoint is given; set ETCD_ENDPOINTS or spec.etcdEndpoints');
  const odd = urls.find((url) => !/^https?:\/\/[^/\s]+\/?$/.test(url));
  if (odd) throw wrong(`'${odd}' is not an etcd URL such as https://10.0.0.1:2379`);
  const auth =
    settings.etcdUsername && settings.etcdPassword
      ? { username: settings.etcdUsername, password: settings.etcdPassword }
      : {};
  const where = { endpoints: urls, ...(etcdDiscoverySrv && { discoverySrv: etcdDiscoverySrv }) };
  return { type, ...where, ...auth, tls: credentials(settings, wrong) };
}

function credentials(settings: Settings, wrong: (message: string) => OperationalError) {
  const files = settings.etcdKeyFile || settings.etcdCertFile || settings.etcdCACertFile;
  const inline = settings.etcdKey || settings.etcdCert || settings.etcdCACert;
  if (files && inline) throw wrong('give TLS credentials as files or as text, not both');
  const one = (file?: string, pem?: string): Credential | undefined => (file ? { file } : pem ? { pem } : undefined);
  const tls = {
    ca: one(settings.etcdCACertFile, settings.etcdCACert),
    cert: one(settings.etcdCertFile, settings.etcdCert),
    key: one(settings.etcdKeyFile, settings.etcdKey),
  };
  if (Boolean(tls.cert) !== Boolean(tls.key))
    throw wrong('a client certificate and its key go together; one is missing');
  return tls;
}
