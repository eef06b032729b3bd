import type { FelixConfigurationSpec } from '#datastore';
import { DEFAULT_RENDER_CONFIG, type Failsafe } from '../render/config.ts';

/** What a node's configuration adds to policy. */
export interface FlowSettings {
  /** From a workload to its own host, once its egress policy has allowed it; `Return` leaves it to the host's own rules. */
  readonly endpointToHostAction: 'Drop' | 'Reject' | 'Return' | 'Accept';
  /** Ports that stay reachable whatever a host endpoint's policy says, per direction. */
  readonly failsafeInbound: readonly Failsafe[];
  readonly failsafeOutbound: readonly Failsafe[];
}

/** What FelixConfiguration's fields mean; the defaults are Calico's. */
export function flowSettings(spec: FelixConfigurationSpec): FlowSettings {
  const { endpointToHostAction, failsafeInbound, failsafeOutbound } = DEFAULT_RENDER_CONFIG;
  const action = spec.defaultEndpointToHostAction?.toLowerCase();
  return {
    endpointToHostAction:
      (['Drop', 'Return', 'Accept', 'Reject'] as const).find((word) => word.toLowerCase() === action) ??
      endpointToHostAction,
    failsafeInbound: failsafes(spec.failsafeInboundHostPorts) ?? failsafeInbound,
    failsafeOutbound: failsafes(spec.failsafeOutboundHostPorts) ?? failsafeOutbound,
  };
}

/** Absent: the defaults hold; an empty list: no port is safe. */
function failsafes(ports: FelixConfigurationSpec['failsafeInboundHostPorts']): Failsafe[] | undefined {
  return ports?.map(({ protocol, port, net }) => ({
    protocol: protocol?.toLowerCase() === 'udp' ? 17 : 6,
    port,
    ...(net && { net }),
  }));
}
