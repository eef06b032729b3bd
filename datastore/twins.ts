/** Where a policy that a person calls `name` is kept by older clients (calico-datastore.md 1.3). */
const olderName = (name: string): string => `default.${name}`;

/** What to say of a policy that an older client wrote, beside which there is a newer one of the same name. */
export const twinMessage = (name: string): string =>
  `was written by an older client as the policy '${name}', which exists under its newer key too: both are in force, and '${name}' means the newer. Delete this one by the name '${olderName(name)}' if it is left over`;

/** Finds policies that are there under both their older and their newer key, as keys come and go. */
export class Twins {
  /** The name that a person knows, by key. */
  readonly #names = new Map<string, string>();
  readonly #told = new Set<string>();
  readonly #tell: (olderKey: string, name: string | null) => void;

  /** @param tell given the older key of a pair and its name, and null when it is no pair any more */
  constructor(tell: (olderKey: string, name: string | null) => void) {
    this.#tell = tell;
  }

  /** A policy is there with this name, or (null) is not, or cannot be used. */
  set(key: string, name: string | null): void {
    if (name === null) this.#names.delete(key);
    else this.#names.set(key, name);
    // What was said of the key itself may have been overwritten by what is known of it now.
    if (name !== null) this.#told.delete(key);
    const cut = key.lastIndexOf('/') + 1;
    this.#judge(key);
    this.#judge(key.slice(0, cut) + olderName(key.slice(cut)));
  }

  #judge(key: string): void {
    const cut = key.lastIndexOf('/') + 1;
    const name = this.#names.get(key);
    const isOlder = name !== undefined && key.slice(cut) === olderName(name);
    const twin = isOlder && this.#names.has(key.slice(0, cut) + name) ? name : null;
    if ((twin !== null) === this.#told.has(key)) return;
    if (twin !== null) this.#told.add(key);
    else this.#told.delete(key);
    this.#tell(key, twin);
  }
}
