import { parseAddr } from '#core';
import { makesEndpointName } from '../endpoint-name.ts';
import type { ParsedKey } from '../keys.ts';
import { resourceName } from '../model/fields.ts';
import { API_VERSION } from '../model/meta.ts';
import {
  type EndpointPort,
  ENDPOINT_CHECKS as is,
  type WorkloadEndpoint,
  type WorkloadEndpointSpec,
} from '../model/workload-endpoint.ts';
import type { Span } from '../store.ts';
import { PlainJson } from './plain-json.ts';

type ResourceKey = Extract<ParsedKey, { type: 'resource' }>;

/** Texts of the spec that many endpoints share, and those that each has for itself. */
const SHARED = ['node', 'orchestrator', 'endpoint', 'serviceAccountName'] as const;
const OWN = ['workload', 'pod', 'containerID', 'interfaceName', 'mac'] as const;
const TEXTS = [...SHARED, ...OWN] as const;
const WORDS = [
  ...['kind', 'apiVersion', 'metadata', 'spec', 'labels', 'annotations', 'ipNetworks', 'profiles', 'ports'],
  ...['ipNATs', 'allowSpoofedSourcePrefixes', 'ipv4Gateway', 'ipv6Gateway', 'name', 'protocol', 'port'],
  ...['hostPort', 'hostIP', 'namespace', 'uid', 'creationTimestamp', ...TEXTS],
];
/** So many names are remembered as good ones. */
const MOST_NAMES = 50_000;

/**
 * Reads endpoints of other nodes, which are most of what a large cluster holds and of which policy asks only for labels, profiles, addresses and
 * ports. It knows endpoints as programs write them. What it gives is what the whole way would give, without the fields that nobody asks for
 * on another node; of what is in any way unusual, let alone wrong, it gives nothing, and the whole way judges.
 */
export class RemoteEndpoints {
  readonly #node: string;
  readonly #json = new PlainJson(WORDS);
  readonly #names = new Set<string>();

  /** @param node whose endpoints are not remote */
  constructor(node: string) {
    this.#node = node;
  }

  /** null: it is to be read the whole way. */
  read(raw: Span, { name, namespace }: ResourceKey): WorkloadEndpoint | null {
    const json = this.#json;
    let labels: Record<string, string> | undefined;
    let spec: WorkloadEndpointSpec | undefined;
    json.begin(raw);
    for (let more = json.object(); more; more = json.anotherField())
      switch (json.name()) {
        case 'kind':
        case 'apiVersion':
          json.skip();
          break;
        case 'metadata':
          if (labels) json.giveUp();
          labels = this.#labels();
          break;
        case 'spec':
          if (spec) json.giveUp();
          spec = this.#spec();
          break;
        default:
          json.giveUp();
      }
    if (!json.isDone || !labels || !spec || !namespace) return null;
    if (spec.node === this.#node || resourceName(name) || !this.#isName(namespace) || !this.#isGood(spec)) return null;
    return { kind: 'WorkloadEndpoint', apiVersion: API_VERSION, metadata: { name, namespace, labels }, spec };
  }

  /** Of the metadata. */
  #labels(): Record<string, string> {
    const json = this.#json;
    let labels: Record<string, string> | undefined;
    for (let more = json.object(); more; more = json.anotherField())
      switch (json.name()) {
        case 'labels':
          if (labels) json.giveUp();
          labels = {};
          for (let another = json.object(); another; another = json.anotherField()) {
            const name = json.name();
            // Also what every object has by nature: such names are left to the whole way.
            if (labels[name] !== undefined) json.giveUp();
            else labels[name] = json.text();
          }
          break;
        case 'annotations':
          for (let another = json.object(); another; another = json.anotherField()) {
            json.name();
            json.ownText();
          }
          break;
        default:
          json.skip();
      }
    return labels ?? {};
  }

  #spec(): WorkloadEndpointSpec {
    const json = this.#json;
    const spec = blank();
    for (let more = json.object(); more; more = json.anotherField()) {
      const field = json.name();
      if (spec[field as keyof WorkloadEndpointSpec] !== undefined) json.giveUp();
      switch (field) {
        case 'node':
        case 'orchestrator':
        case 'endpoint':
        case 'serviceAccountName':
          spec[field] = json.text();
          break;
        case 'workload':
        case 'pod':
        case 'containerID':
        case 'interfaceName':
        case 'mac':
          spec[field] = json.ownText();
          break;
        case 'ipNetworks':
          spec.ipNetworks = [];
          for (let another = json.list(); another; another = json.anotherItem()) spec.ipNetworks.push(json.ownText());
          break;
        case 'profiles':
          spec.profiles = [];
          for (let another = json.list(); another; another = json.anotherItem()) spec.profiles.push(json.text());
          break;
        case 'ports':
          spec.ports = [];
          for (let another = json.list(); another; another = json.anotherItem()) spec.ports.push(this.#port());
          break;
        case 'ipNATs':
        case 'allowSpoofedSourcePrefixes':
          if (json.list()) json.giveUp();
          break;
        case 'ipv4Gateway':
        case 'ipv6Gateway':
          if (json.text() !== '') json.giveUp();
          break;
        default:
          json.giveUp();
      }
    }
    return spec;
  }

  #port(): EndpointPort {
    const json = this.#json;
    const port = {} as EndpointPort;
    for (let more = json.object(); more; more = json.anotherField()) {
      const field = json.name();
      if (port[field as keyof EndpointPort] !== undefined) json.giveUp();
      if (field === 'port' || field === 'hostPort') port[field] = json.number();
      else if (field === 'protocol') port.protocol = json.text() as EndpointPort['protocol'];
      else if (field === 'name' || field === 'hostIP') port[field] = json.text();
      else json.giveUp();
    }
    return port;
  }

  /** Whether the whole way would find nothing wrong with it. */
  #isGood(spec: WorkloadEndpointSpec): boolean {
    const { orchestrator, node, interfaceName, workload, pod, containerID, mac, serviceAccountName } = spec;
    return (
      makesEndpointName(spec) &&
      this.#isName(orchestrator) &&
      this.#isName(node) &&
      !is.endpoint(spec.endpoint) &&
      !is.interfaceName(interfaceName ?? '') &&
      (!workload || !resourceName(workload)) &&
      (!pod || !resourceName(pod)) &&
      (!containerID || !is.containerID(containerID)) &&
      (!mac || !is.mac(mac)) &&
      (!serviceAccountName || this.#isName(serviceAccountName)) &&
      (spec.profiles ?? []).every((profile) => this.#isName(profile)) &&
      (spec.ipNetworks ?? []).every((network) => !is.oneAddress(network)) &&
      (spec.ports ?? []).every(isGoodPort)
    );
  }

  #isName(text: string): boolean {
    if (this.#names.has(text)) return true;
    if (resourceName(text)) return false;
    if (this.#names.size >= MOST_NAMES) this.#names.clear();
    this.#names.add(text);
    return true;
  }
}

/** Of one shape, whichever fields come in whichever order. */
const blank = (): WorkloadEndpointSpec =>
  ({
    node: undefined,
    orchestrator: undefined,
    endpoint: undefined,
    serviceAccountName: undefined,
    workload: undefined,
    pod: undefined,
    containerID: undefined,
    interfaceName: undefined,
    mac: undefined,
    ipNetworks: undefined,
    profiles: undefined,
    ports: undefined,
  }) as unknown as WorkloadEndpointSpec;

const isGoodPort = ({ name, protocol, port, hostPort, hostIP }: EndpointPort): boolean =>
  !is.protocol(protocol ?? '') &&
  port >= 1 &&
  port <= 65535 &&
  (hostPort ?? 0) <= 65535 &&
  (!name || !is.portName(name)) &&
  (!hostIP || parseAddr(hostIP).ok) &&
  Boolean(name || hostPort);
