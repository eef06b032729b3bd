import type { Log } from '#core';
import type { EndpointState, LocalEndpoint } from './endpoints.ts';

/** One line of log for each change of an endpoint that an operator would ask about. */
export class EndpointLog {
  readonly #log: Log;
  readonly #known = new Map<string, string>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** The endpoints and their states as they are now, all of them. */
  set(endpoints: ReadonlyMap<string, LocalEndpoint>, states: ReadonlyMap<string, EndpointState>): void {
    for (const [id, state] of states) {
      const text = 'reason' in state ? `${state.state}: ${state.reason}` : state.state;
      if (this.#known.get(id) === text) continue;
      this.#known.set(id, text);
      const endpoint = endpoints.get(id);
      const fields = { endpoint: id, ifname: endpoint?.interfaceName, addresses: endpoint?.addresses };
      if (state.state === 'programmed') this.#log.info(fields, 'endpoint programmed');
      else if ('reason' in state) this.#log.warn({ ...fields, reason: state.reason }, `endpoint ${state.state}`);
    }
    for (const id of this.#known.keys())
      if (!states.has(id)) {
        this.#known.delete(id);
        this.#log.info({ endpoint: id }, 'endpoint removed');
      }
  }
}
