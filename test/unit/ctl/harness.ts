import { FakeClock, silentLog } from '#core';
import { openStore, type Store } from '#datastore';
import { run } from '../../../ctl/run.ts';

export interface Ran {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

export interface Given {
  readonly stdin?: string;
  readonly env?: Record<string, string>;
  readonly cwd?: string;
  readonly signal?: AbortSignal;
  readonly isTTY?: boolean;
  /** Called with each piece of output as it comes. */
  readonly onOut?: (text: string) => void;
}

/** Runs a command line in this process and gives what it printed. */
export async function ctl(store: Store | null, argv: readonly string[], given: Given = {}): Promise<Ran> {
  let out = '';
  let err = '';
  const status = await run(argv, {
    stdout: {
      isTTY: given.isTTY ?? false,
      write: (text) => {
        out += text;
        given.onOut?.(text);
      },
    },
    stderr: {
      isTTY: given.isTTY ?? false,
      write: (text) => {
        err += text;
      },
    },
    stdin: async () => given.stdin ?? '',
    env: given.env ?? {},
    cwd: given.cwd ?? '/nonexistent',
    clock: new FakeClock(),
    signal: given.signal ?? new AbortController().signal,
    ...(store && { openStore: async () => store }),
  });
  return { status, out, err };
}

export const memoryStore = (): Promise<Store> =>
  openStore({ type: 'memory' }, { clock: new FakeClock(), log: silentLog });

/** Applies documents, which must be right. */
export async function apply(store: Store, yaml: string): Promise<void> {
  const ran = await ctl(store, ['apply', '-f', '-'], { stdin: yaml });
  if (ran.status !== 0) throw new Error(ran.err);
}

/** Documents of a small cluster: a resource of every kind whose table differs. */
export const CLUSTER = `
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: default}
spec: {order: 1000000, defaultAction: Deny}
---
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: security}
spec: {order: 300, defaultAction: Pass}
---
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata: {name: default}
spec: {nodeToNodeMeshEnabled: true, asNumber: 64600}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: n1, labels: {rack: r1}}
spec: {bgp: {ipv4Address: 10.0.0.11/24, ipv6Address: 'fd00::11/64'}}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: n2, labels: {rack: r2}}
spec: {bgp: {ipv4Address: 10.0.0.12/24, asNumber: 64513}}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: n3}
spec: {}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: pool-a}
spec: {cidr: 10.65.0.0/16, natOutgoing: true}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: edge-in}
spec: {order: 100, selector: role == 'edge', types: [Ingress], ingress: [{action: Allow}]}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: web, namespace: prod}
spec: {tier: security, selector: app == 'web', types: [Ingress], ingress: [{action: Deny}, {action: Allow}]}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: tor}
spec: {peerIP: 10.0.0.1, asNumber: 65001}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: blocked}
spec: {nets: [198.51.100.0/24, 'fd00:bad::/64']}
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {namespace: default, labels: {app: web}}
spec:
  orchestrator: cni
  node: n1
  containerID: abc123
  endpoint: eth0
  interfaceName: caliabc123
  ipNetworks: [10.65.3.70/32, 'fd00:65::1c42/128']
  profiles: [net1]
`;
