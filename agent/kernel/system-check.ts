/** One thing that the agent needs of a machine, and whether it is there. */
export interface SystemCheck {
  readonly check: string;
  readonly ok: boolean;
  /** Without it the agent cannot do its work; others are needed only for some features. */
  readonly required: boolean;
  /** Where it was found, or what to do. */
  readonly detail: string;
}

/** How the check sees the machine: the text of a file, or null. Tests give their own. */
export interface Machine {
  read(path: string): string | null;
  exists(path: string): boolean;
  /** Directories that hold programs. */
  readonly path: readonly string[];
  /** A kernel configuration that a person gave; null: none. */
  readonly kernelConfig: string | null;
}

interface Module {
  readonly name: string;
  /** The option of the kernel's configuration. */
  readonly option: string;
  readonly for?: string;
}

const MODULES: readonly Module[] = [
  { name: 'ip_set', option: 'IP_SET' },
  { name: 'xt_set', option: 'NETFILTER_XT_SET' },
  { name: 'nf_conntrack', option: 'NF_CONNTRACK' },
  { name: 'nf_conntrack_netlink', option: 'NF_CT_NETLINK' },
  { name: 'xt_addrtype', option: 'NETFILTER_XT_MATCH_ADDRTYPE' },
  { name: 'xt_comment', option: 'NETFILTER_XT_MATCH_COMMENT' },
  { name: 'xt_conntrack', option: 'NETFILTER_XT_MATCH_CONNTRACK' },
  { name: 'xt_mark', option: 'NETFILTER_XT_MARK' },
  { name: 'xt_multiport', option: 'NETFILTER_XT_MATCH_MULTIPORT' },
  { name: 'ipt_REJECT', option: 'IP_NF_TARGET_REJECT', for: 'Reject actions' },
  { name: 'ipt_rpfilter', option: 'IP_NF_MATCH_RPFILTER', for: 'reverse path checks of the raw table' },
  ...[
    { name: 'sch_tbf', option: 'NET_SCH_TBF' },
    { name: 'sch_ingress', option: 'NET_SCH_INGRESS' },
    { name: 'cls_u32', option: 'NET_CLS_U32' },
    { name: 'act_mirred', option: 'NET_ACT_MIRRED' },
    { name: 'ifb', option: 'IFB' },
  ].map((module) => ({ ...module, for: 'bandwidth of workloads' })),
  { name: 'vxlan', option: 'VXLAN', for: 'VXLAN pools' },
  { name: 'ipip', option: 'NET_IPIP', for: 'IPIP pools' },
];

/** Either backend of iptables will do. */
const BACKENDS: readonly (readonly Module[])[] = [
  [
    { name: 'nf_tables', option: 'NF_TABLES' },
    { name: 'nft_compat', option: 'NFT_COMPAT' },
  ],
  [
    { name: 'ip_tables', option: 'IP_NF_IPTABLES' },
    { name: 'ip6_tables', option: 'IP6_NF_IPTABLES' },
  ],
];

const CAPABILITIES = { NET_BIND_SERVICE: 10, NET_ADMIN: 12, NET_RAW: 13 } as const;

/** Holds a machine against what the agent needs. */
export function checkSystem(machine: Machine): SystemCheck[] {
  const release = machine.read('/proc/sys/kernel/osrelease')?.trim() ?? '';
  const find = moduleFinder(machine, release);
  return [
    kernelVersion(release),
    ...MODULES.map((module) => moduleCheck(module, find(module))),
    backendCheck(find),
    ...['iptables-restore', 'ip6tables-restore'].map((name) => programCheck(machine, name)),
    { ...fileCheck(machine, '/proc/sys/net/ipv6/conf/all/forwarding', 'IPv6'), required: false },
    ...capabilityChecks(machine),
  ];
}

const LEAST_KERNEL = [4, 19] as const;

function kernelVersion(release: string): SystemCheck {
  const [major = 0, minor = 0] = release.split(/[.-]/).map(Number);
  const ok = major > LEAST_KERNEL[0] || (major === LEAST_KERNEL[0] && minor >= LEAST_KERNEL[1]);
  const least = LEAST_KERNEL.join('.');
  return {
    check: 'kernel',
    ok,
    required: true,
    detail: ok ? release : `${release || 'unknown'}; ${least} or newer is needed`,
  };
}

type Find = (module: Module) => string | null;

/** Where a module is: loaded, built in, loadable, or promised by the kernel's configuration. */
function moduleFinder(machine: Machine, release: string): Find {
  const named = (text: string | null, pattern: RegExp) =>
    new Set([...(text ?? '').matchAll(pattern)].map((match) => match[1].replaceAll('-', '_')));
  const loaded = named(machine.read('/proc/modules'), /^(\S+) /gm);
  const builtIn = named(machine.read(`/lib/modules/${release}/modules.builtin`), /([^/\s]+)\.ko/g);
  const loadable = named(machine.read(`/lib/modules/${release}/modules.dep`), /^[^:\n]*?([^/:\n]+)\.ko[^:\n]*:/gm);
  const configured = named(
    [machine.kernelConfig, machine.read(`/boot/config-${release}`)].join('\n'),
    /^CONFIG_(\w+)=[ym]$/gm,
  );
  return ({ name, option }) => {
    if (loaded.has(name)) return 'loaded';
    if (builtIn.has(name)) return 'built in';
    if (machine.exists(`/sys/module/${name}`)) return 'present';
    if (loadable.has(name)) return 'loadable';
    return configured.has(option) ? `CONFIG_${option}` : null;
  };
}

function moduleCheck(module: Module, found: string | null): SystemCheck {
  const missing = `not found; modprobe ${module.name}, or a kernel with CONFIG_${module.option}`;
  return {
    check: `module ${module.name}`,
    ok: found !== null,
    required: module.for === undefined,
    detail: found ?? (module.for ? `${missing}; needed for ${module.for}` : missing),
  };
}

function backendCheck(find: Find): SystemCheck {
  const whole = BACKENDS.find((modules) => modules.every((module) => find(module) !== null));
  const names = BACKENDS.map((modules) => modules.map(({ name }) => name).join(' with '));
  return {
    check: 'iptables backend',
    ok: whole !== undefined,
    required: true,
    detail: whole ? whole.map((module) => `${module.name} ${find(module)}`).join(', ') : `needs ${names.join(', or ')}`,
  };
}

function programCheck(machine: Machine, name: string): SystemCheck {
  const directory = machine.path.find((dir) => machine.exists(`${dir}/${name}`));
  const detail = directory ? `${directory}/${name}` : `not found in ${machine.path.join(':')}; install it`;
  return { check: `program ${name}`, ok: directory !== undefined, required: true, detail };
}

function fileCheck(machine: Machine, path: string, check: string): SystemCheck {
  const ok = machine.exists(path);
  return { check, ok, required: true, detail: ok ? path : `${path} does not exist` };
}

/** The privileges of who asks, who should be who runs the agent. */
function capabilityChecks(machine: Machine): SystemCheck[] {
  const text = /^CapEff:\s*([0-9a-f]+)$/m.exec(machine.read('/proc/self/status') ?? '')?.[1] ?? '0';
  const effective = BigInt(`0x${text}`);
  return Object.entries(CAPABILITIES).map(([name, bit]) => {
    const ok = (effective & (1n << BigInt(bit))) !== 0n;
    return { check: `capability ${name}`, ok, required: true, detail: ok ? 'granted' : 'not granted to this process' };
  });
}
