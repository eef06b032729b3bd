import { address, int, interfaceName, list, maybe, object, resourceName, text, word } from './fields.ts';
import type { KindInfo } from './kind.ts';
import type { Resource } from './meta.ts';

export interface HostEndpointSpec {
  node: string;
  /** `*`: every host interface without an endpoint of its own. */
  interfaceName?: string;
  expectedIPs?: string[];
  profiles?: string[];
  ports?: { name: string; protocol: 'TCP' | 'UDP' | 'SCTP'; port: number }[];
}
export type HostEndpoint = Resource<'HostEndpoint', HostEndpointSpec>;

type HostPort = NonNullable<HostEndpointSpec['ports']>[number];

export const hostEndpoint: KindInfo<'HostEndpoint', HostEndpointSpec> = {
  kind: 'HostEndpoint',
  plural: 'hostendpoints',
  singular: 'hostendpoint',
  shortNames: ['hep', 'heps'],
  namespaced: false,
  spec: object<HostEndpointSpec>({
    node: text(resourceName),
    interfaceName: maybe((value) => (value === '*' ? null : interfaceName(value))),
    expectedIPs: list(text(address())),
    profiles: list(text(resourceName)),
    ports: list(object<HostPort>({ name: text(), protocol: text(word('TCP', 'UDP', 'SCTP')), port: int(1, 65535) })),
  }),
  check: ({ spec }, report) => {
    if (!spec.interfaceName && !spec.expectedIPs?.length)
      report('spec.interfaceName', 'or expectedIPs must say which interface is meant');
  },
};
