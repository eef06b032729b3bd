/** Which interfaces belong to workloads: by the beginning of their names, which FelixConfiguration may change while the agent runs. */
export class WorkloadLinks {
  prefixes: readonly string[];

  constructor(prefixes: readonly string[]) {
    this.prefixes = prefixes;
  }
  /** Bound, so that it can be handed on. */
  readonly has = (name: string): boolean => this.prefixes.some((prefix) => name.startsWith(prefix));
}
