import * as z from 'zod';
import type { StoreConfig } from '#datastore';
import { CNI_CODE, CniError } from './error.ts';
import type { Environment } from './request.ts';
import { type CniVersion, cniVersion } from './version.ts';

const text = z.string().optional();
const count = z.number().int().nonnegative().max(65_536).optional();
const strings = z
  .array(z.string())
  .nullish()
  .transform((value) => value ?? []);
/** calico-ipam has booleans as text; a real boolean is understood too. */
const flagText = z
  .union([z.boolean(), z.enum(['true', 'false'])])
  .transform((value) => value === true || value === 'true');

/** IPAM: ours, or any plugin of that name, which gets the configuration as it is. */
const ipam = z.looseObject({
  type: text,
  assign_ipv4: flagText.default(true),
  assign_ipv6: flagText.default(false),
  ipv4_pools: strings,
  ipv6_pools: strings,
});

/** The keys that mean something (calico-datastore.md 5.1); others are left alone, because the runtime and other plugins use them. */
const schema = z.looseObject({
  type: text,
  datastore_type: text,
  etcd_endpoints: text,
  etcd_scheme: text,
  etcd_authority: text,
  etcd_discovery_srv: text,
  etcd_key_file: text,
  etcd_cert_file: text,
  etcd_ca_cert_file: text,
  etcd_username: text,
  etcd_password: text,
  directory: text,
  nodename: text,
  nodename_file: text,
  nodename_file_optional: z.boolean().default(false),
  hostname: text,
  mtu: count.default(0),
  require_mtu_file: z.boolean().default(false),
  num_queues: count.default(1),
  ipam: ipam.optional(),
  ipam_lock_file: z.string().default('/var/run/calico/ipam.lock'),
  log_level: text,
  log_file_path: text,
  log_file_max_size: z.number().positive().default(100),
  container_settings: z.object({ allow_ip_forwarding: z.boolean().default(false) }).optional(),
  policy: z.object({ type: text }).optional(),
  kubernetes: z.object({ kubeconfig: text, k8s_api_root: text, node_name: text }).optional(),
  readiness_gates: strings,
  policy_setup_timeout_seconds: z.number().nonnegative().max(600).optional(),
  endpoint_status_dir: text,
  run_dir: z.string().default('/var/run/tsnet'),
  runtimeConfig: z.looseObject({ ips: z.array(z.string()).optional(), mac: text }).optional(),
  args: z.looseObject({ cni: z.looseObject({ ips: z.array(z.string()).optional() }).optional() }).optional(),
});

/** A network configuration as the runtime gives it to a plugin, read and defaulted. */
export interface Conf extends z.infer<typeof schema> {
  readonly name: string;
  readonly cniVersion: CniVersion;
  readonly prevResult?: unknown;
  readonly 'cni.dev/valid-attachments'?: unknown;
}

/** Reads standard input. @throws CniError decode, incompatibleVersion or configuration, naming the key */
export function parseConf(input: string): Conf {
  let raw: unknown;
  try {
    raw = JSON.parse(input);
  } catch (error) {
    throw new CniError(CNI_CODE.decode, `the network configuration is no JSON: ${(error as Error).message}`);
  }
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw))
    throw new CniError(CNI_CODE.decode, 'the network configuration must be a JSON object');
  const object = raw as Record<string, unknown>;
  const version = cniVersion(object.cniVersion);
  // podman and libcni hand over the network's name; it becomes a Profile's name and the beginning of each handle.
  if (typeof object.name !== 'string' || !/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(object.name))
    throw new CniError(
      CNI_CODE.configuration,
      `name: must be letters, digits, '_', '.' and '-'; it is ${JSON.stringify(object.name)}`,
    );
  const parsed = schema.safeParse(object);
  if (!parsed.success)
    throw new CniError(
      CNI_CODE.configuration,
      parsed.error.issues.map((issue) => `${issue.path.join('.') || 'configuration'}: ${issue.message}`).join('; '),
    );
  return { ...parsed.data, name: object.name, cniVersion: version };
}

/** Whether addresses come from the datastore's pools, which is so unless the configuration names another IPAM plugin. */
export const hasOwnIpam = ({ ipam: own }: Conf): boolean =>
  !own?.type || own.type === 'calico-ipam' || own.type === 'tsnet-ipam';

/** The configuration's word, else the environment's, which is where Calico keeps what the configuration leaves out. */
export function storeConfig(conf: Conf, env: Environment): StoreConfig {
  const endpoints = endpointsOf(conf, env);
  const directory = conf.directory || env.TSNET_DIRECTORY;
  const type =
    conf.datastore_type || env.DATASTORE_TYPE || (endpoints.length === 0 && directory ? 'directory' : 'etcdv3');
  const wrong = (message: string) => new CniError(CNI_CODE.configuration, message);
  if (type === 'directory') return { type, directory: directory || '/etc/tsnet/resources' };
  if (type !== 'etcdv3') throw wrong(`datastore_type: must be etcdv3 or directory; it is ${JSON.stringify(type)}`);
  const discoverySrv = endpoints.length > 0 ? undefined : conf.etcd_discovery_srv || env.ETCD_DISCOVERY_SRV;
  if (endpoints.length === 0 && !discoverySrv) throw wrong('etcd_endpoints: is required with datastore_type etcdv3');
  return {
    type,
    endpoints,
    discoverySrv,
    caFile: conf.etcd_ca_cert_file || env.ETCD_CA_CERT_FILE || undefined,
    certFile: conf.etcd_cert_file || env.ETCD_CERT_FILE || undefined,
    keyFile: conf.etcd_key_file || env.ETCD_KEY_FILE || undefined,
    username: conf.etcd_username || env.ETCD_USERNAME || undefined,
    password: conf.etcd_password || env.ETCD_PASSWORD || undefined,
  };
}

function endpointsOf(conf: Conf, env: Environment): string[] {
  const listed = conf.etcd_endpoints || (conf.etcd_authority ? '' : (env.ETCD_ENDPOINTS ?? ''));
  if (!listed && conf.etcd_authority) return [`${conf.etcd_scheme || 'http'}://${conf.etcd_authority}`];
  return listed
    .split(',')
    .map((endpoint) => endpoint.trim())
    .filter((endpoint) => endpoint !== '');
}
