import { hostname } from 'node:os';
import { LOG_LEVELS, type LogLevel } from '#core';
import {
  asNumber,
  detection,
  list,
  listenAddress,
  nodeAddress,
  nodeName,
  oneOf,
  poolCidr,
  prefixes,
  routerId,
  text,
  truth,
  whole,
} from './setting-values.ts';

/**
 * Every setting of tsnet-agent: a flag, an environment variable and a key of the `--config` file; flag beats environment beats file
 * (INTERFACES.md). docs/CONFIG.md is generated from this table.
 */
export interface Setting<T> {
  /** Without dashes; also the key in the file, in camel case. */
  readonly flag?: string;
  readonly env: string;
  readonly placeholder?: string;
  readonly help: string;
  /** Text as given; rejects with a message that says what would be right. */
  readonly read: (text: string) => T;
  readonly fallback: (all: Record<string, unknown>) => T;
}

const setting = <T>(s: Setting<T>): Setting<T> => s;
const always =
  <T>(value: T) =>
  () =>
    value;

export const SETTINGS = {
  nodeName: setting({
    flag: 'node-name',
    env: 'NODENAME',
    placeholder: 'NAME',
    help: "this node's name in the datastore",
    read: nodeName,
    fallback: () => hostname().toLowerCase(),
  }),
  datastore: setting({
    flag: 'datastore',
    env: 'DATASTORE_TYPE',
    placeholder: 'TYPE',
    help: 'etcdv3 or directory',
    read: oneOf('etcdv3', 'directory'),
    fallback: (all) => ((all.etcdEndpoints as string[]).length > 0 ? ('etcdv3' as const) : ('directory' as const)),
  }),
  etcdEndpoints: setting({
    flag: 'etcd-endpoints',
    env: 'ETCD_ENDPOINTS',
    placeholder: 'URLS',
    help: 'comma-separated URLs',
    read: list,
    fallback: always<string[]>([]),
  }),
  etcdCa: setting({
    flag: 'etcd-ca',
    env: 'ETCD_CA_CERT_FILE',
    placeholder: 'FILE',
    help: 'CA of the etcd servers',
    read: text,
    fallback: always(''),
  }),
  etcdCert: setting({
    flag: 'etcd-cert',
    env: 'ETCD_CERT_FILE',
    placeholder: 'FILE',
    help: 'client certificate',
    read: text,
    fallback: always(''),
  }),
  etcdKey: setting({
    flag: 'etcd-key',
    env: 'ETCD_KEY_FILE',
    placeholder: 'FILE',
    help: 'client key',
    read: text,
    fallback: always(''),
  }),
  etcdUsername: setting({
    flag: 'etcd-username',
    env: 'ETCD_USERNAME',
    placeholder: 'USER',
    help: 'etcd user; the password only by ETCD_PASSWORD',
    read: text,
    fallback: always(''),
  }),
  etcdPassword: setting({ env: 'ETCD_PASSWORD', help: 'etcd password', read: text, fallback: always('') }),
  directory: setting({
    flag: 'directory',
    env: 'TSNET_DIRECTORY',
    placeholder: 'DIR',
    help: 'resource files of the directory datastore',
    read: text,
    fallback: always('/etc/tsnet/resources'),
  }),
  ip: setting({
    flag: 'ip',
    env: 'IP',
    placeholder: 'CIDR',
    help: "this node's IPv4 address with prefix length, 'autodetect' or 'none'",
    read: nodeAddress(4),
    fallback: always(''),
  }),
  ip6: setting({
    flag: 'ip6',
    env: 'IP6',
    placeholder: 'CIDR',
    help: "this node's IPv6 address with prefix length, 'autodetect' or 'none'",
    read: nodeAddress(6),
    fallback: always(''),
  }),
  ipAutodetectionMethod: setting({
    flag: 'ip-autodetection-method',
    env: 'IP_AUTODETECTION_METHOD',
    placeholder: 'METHOD',
    help: 'first-found, can-reach=, interface=, skip-interface= or cidr=',
    read: detection,
    fallback: always('first-found'),
  }),
  ip6AutodetectionMethod: setting({
    flag: 'ip6-autodetection-method',
    env: 'IP6_AUTODETECTION_METHOD',
    placeholder: 'METHOD',
    help: 'the same for IPv6',
    read: detection,
    fallback: always('first-found'),
  }),
  noDefaultPools: setting({
    env: 'NO_DEFAULT_POOLS',
    help: 'make no pool at first start, whatever the next settings say',
    read: truth,
    fallback: always(false),
  }),
  ipv4PoolCidr: setting({
    env: 'CALICO_IPV4POOL_CIDR',
    help: 'make the pool default-ipv4-ippool with this CIDR in a cluster that has no IPv4 pool',
    read: poolCidr(4),
    fallback: always(''),
  }),
  ipv4PoolBlockSize: setting({
    env: 'CALICO_IPV4POOL_BLOCK_SIZE',
    help: 'prefix length of its blocks, 20 to 32; default 26',
    read: whole(20, 32),
    fallback: always<number>(26),
  }),
  ipv4PoolVxlan: setting({
    env: 'CALICO_IPV4POOL_VXLAN',
    help: 'its vxlanMode: Never (default), Always or CrossSubnet',
    read: oneOf('Never', 'Always', 'CrossSubnet'),
    fallback: always<'Never' | 'Always' | 'CrossSubnet'>('Never'),
  }),
  ipv4PoolNatOutgoing: setting({
    env: 'CALICO_IPV4POOL_NAT_OUTGOING',
    help: 'its natOutgoing; default true',
    read: truth,
    fallback: always<boolean>(true),
  }),
  ipv6PoolCidr: setting({
    env: 'CALICO_IPV6POOL_CIDR',
    help: 'make the pool default-ipv6-ippool with this CIDR in a cluster that has no IPv6 pool',
    read: poolCidr(6),
    fallback: always(''),
  }),
  ipv6PoolBlockSize: setting({
    env: 'CALICO_IPV6POOL_BLOCK_SIZE',
    help: 'prefix length of its blocks, 116 to 128; default 122',
    read: whole(116, 128),
    fallback: always<number>(122),
  }),
  ipv6PoolVxlan: setting({
    env: 'CALICO_IPV6POOL_VXLAN',
    help: 'its vxlanMode: Never (default), Always or CrossSubnet',
    read: oneOf('Never', 'Always', 'CrossSubnet'),
    fallback: always<'Never' | 'Always' | 'CrossSubnet'>('Never'),
  }),
  ipv6PoolNatOutgoing: setting({
    env: 'CALICO_IPV6POOL_NAT_OUTGOING',
    help: 'its natOutgoing; default false',
    read: truth,
    fallback: always(false),
  }),
  routerId: setting<string | undefined>({
    flag: 'router-id',
    env: 'CALICO_ROUTER_ID',
    placeholder: 'ID',
    help: "an address, or 'hash' of the node's name; default the IPv4 address",
    read: routerId,
    fallback: always(undefined),
  }),
  as: setting<number | undefined>({
    flag: 'as',
    env: 'AS',
    placeholder: 'ASN',
    help: "this node's AS number; default BGPConfiguration's, else 64512",
    read: asNumber,
    fallback: always(undefined),
  }),
  bgpProfile: setting({
    flag: 'bgp-profile',
    env: 'TSNET_BGP_PROFILE',
    placeholder: 'PROFILE',
    help: 'calico, or strict towards peers outside the cluster',
    read: oneOf('calico', 'strict'),
    fallback: always('calico' as const),
  }),
  secretsDir: setting({
    flag: 'secrets-dir',
    env: 'TSNET_SECRETS_DIR',
    placeholder: 'DIR',
    help: 'NAME/KEY files for the secretKeyRef of passwords',
    read: text,
    fallback: always('/etc/tsnet/secrets'),
  }),
  runDir: setting({
    flag: 'run-dir',
    env: 'TSNET_RUN_DIR',
    placeholder: 'DIR',
    help: 'control socket agent.sock, endpoint status files',
    read: text,
    fallback: always('/var/run/tsnet'),
  }),
  metricsListen: setting({
    flag: 'metrics-listen',
    env: 'TSNET_METRICS_LISTEN',
    placeholder: 'A:P',
    help: 'Prometheus /metrics',
    read: listenAddress,
    fallback: always({ host: '127.0.0.1', port: 9091 }),
  }),
  healthListen: setting({
    flag: 'health-listen',
    env: 'TSNET_HEALTH_LISTEN',
    placeholder: 'A:P',
    help: '/liveness, /readiness',
    read: listenAddress,
    fallback: always({ host: '127.0.0.1', port: 9099 }),
  }),
  logLevel: setting<LogLevel>({
    flag: 'log-level',
    env: 'TSNET_LOG_LEVEL',
    placeholder: 'LEVEL',
    help: LOG_LEVELS.join(', '),
    read: oneOf(...LOG_LEVELS),
    fallback: always('info' as const),
  }),
  logGroup: setting<number | undefined>({
    flag: 'log-group',
    env: 'TSNET_LOG_GROUP',
    placeholder: 'GROUP',
    help: 'NFLOG group to which Log rules of policy log; without it they log to the kernel log, with 29 characters of prefix',
    read: whole(1, 65535),
    fallback: always(undefined),
  }),
  policyOnly: setting({
    flag: 'policy-only',
    env: 'TSNET_POLICY_ONLY',
    help: 'program policy, leave routing to another plugin',
    read: truth,
    fallback: always(false),
  }),
  noBgp: setting({ flag: 'no-bgp', env: 'TSNET_NO_BGP', help: 'no BGP speaker', read: truth, fallback: always(false) }),
  iptablesBackend: setting({
    flag: 'iptables-backend',
    env: 'FELIX_IPTABLESBACKEND',
    placeholder: 'KIND',
    help: 'auto, nft or legacy',
    read: oneOf('auto', 'nft', 'legacy'),
    fallback: always('auto' as const),
  }),
  interfacePrefix: setting({
    flag: 'interface-prefix',
    env: 'FELIX_INTERFACEPREFIX',
    placeholder: 'PREFIXES',
    help: 'prefixes of workload interfaces',
    read: prefixes,
    fallback: always(['cali']),
  }),
} as const;

type Table = typeof SETTINGS;
export type SettingName = keyof Table;
export type AgentConfig = { readonly [K in SettingName]: ReturnType<Table[K]['fallback']> } & {
  /** The settings that somebody gave: what a resource may not override. */
  readonly given: ReadonlySet<SettingName>;
};
