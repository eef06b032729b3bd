import type { WorkloadEndpointSpec } from '#datastore';
import { CNI_CODE, CniError } from './error.ts';

type QosControls = NonNullable<WorkloadEndpointSpec['qosControls']>;

const PREFIX = 'qos.projectcalico.org/';
/** What is said in both directions; names of the fields of `spec.qosControls`. */
const LIMITS = ['Bandwidth', 'Burst', 'Peakrate', 'Minburst', 'PacketRate', 'PacketBurst', 'MaxConnections'] as const;
const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  ...{ k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15 },
  ...{ Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50 },
};

/** Limits that a pod's annotations ask for (`qos.projectcalico.org/ingressBandwidth: 10M`), or undefined. Ranges are the datastore's to check. @throws CniError configuration */
export function qosOf(annotations: Readonly<Record<string, string>> | null | undefined): QosControls | undefined {
  const controls: QosControls = {};
  for (const limit of LIMITS)
    for (const direction of ['ingress', 'egress'] as const) {
      const key = `${direction}${limit}` as const;
      const text = annotations?.[PREFIX + key];
      if (text !== undefined) controls[key] = quantity(key, text);
    }
  const dscp = annotations?.[`${PREFIX}dscp`];
  if (dscp !== undefined) controls.dscp = /^\d+$/.test(dscp) ? Number(dscp) : dscp;
  return Object.keys(controls).length > 0 ? controls : undefined;
}

/** A quantity of Kubernetes, as a whole number. */
function quantity(key: string, text: string): number {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)(|[kMGTP]|[KMGTP]i)$/.exec(text.trim()) ?? [];
  if (digits === undefined)
    throw new CniError(
      CNI_CODE.configuration,
      `annotation ${PREFIX}${key} must be a quantity such as 10M; it is ${JSON.stringify(text)}`,
    );
  return Math.round(Number(digits) * UNITS[unit]);
}
