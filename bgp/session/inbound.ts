import { FAMILIES, type Family, type Log } from '#core';
import type { AttributeTable } from '../rib/attributes.ts';
import { type InboundProfile, importRoute } from '../rib/import.ts';
import { CompiledPolicy, type RouteFacts } from '../rib/policy.ts';
import type { Rib } from '../rib/rib.ts';
import type { RoutePolicy } from '../types.ts';
import type { Announcement, Negotiated, PathAttributes, Update } from '../wire/types.ts';

export interface InboundContext {
  readonly ribs: Readonly<Record<Family, Rib>>;
  readonly attributes: AttributeTable;
  readonly log: Log;
}

/** How one session's UPDATEs reach the table: checks, policy, and the run that tells fresh routes from stale ones. */
export class Inbound {
  readonly source: number;
  profile: InboundProfile;
  #policy: CompiledPolicy;
  readonly #c: InboundContext;
  readonly #runs: Readonly<Record<Family, number>>;
  readonly #peerType: RouteFacts['peerType'];

  constructor(
    source: number,
    profile: InboundProfile,
    policy: RoutePolicy,
    runs: Readonly<Record<Family, number>>,
    context: InboundContext,
  ) {
    this.source = source;
    this.profile = profile;
    this.#policy = new CompiledPolicy(policy);
    this.#c = context;
    this.#runs = runs;
    this.#peerType = profile.ebgp ? 'eBGP' : 'iBGP';
  }

  /** Withdrawals first, then announcements (RFC 4271 §4.3). Returns how many paths were not taken, because the peer has as many of their prefix as it may have. */
  update(update: Update): number {
    for (const nlri of update.withdrawn) this.#c.ribs[nlri.family].withdraw(this.source, nlri);
    let refused = 0;
    for (const announcement of update.announced) refused += this.#announce(announcement);
    return refused;
  }
  /** The set of a path after import, held for the caller, and 0 when it is not accepted. */
  accept(family: Family, prefix: number, received: number): number {
    const value = this.#c.attributes.valueOf(received);
    const imported = importRoute(value, this.profile, this.#policy, this.#facts(family, prefix));
    return 'value' in imported ? this.#c.attributes.intern(imported.value) : 0;
  }
  /** Why the path is not accepted; null: it is. */
  explain(family: Family, prefix: number, value: PathAttributes): string | null {
    const imported = importRoute(value, this.profile, this.#policy, this.#facts(family, prefix));
    return 'reason' in imported ? imported.reason : null;
  }
  setPolicy(policy: RoutePolicy, allowOwnAs: number): void {
    this.#policy = new CompiledPolicy(policy);
    this.profile = { ...this.profile, allowOwnAs };
  }

  #announce({ nlri, attributes: value }: Announcement): number {
    let refused: number;
    const { attributes } = this.#c;
    const rib = this.#c.ribs[nlri.family];
    const received = attributes.intern(value);
    const run = this.#runs[nlri.family];
    if (this.#policy.byAttributes) {
      const accepted = this.accept(nlri.family, 0, received);
      refused = rib.announce(this.source, run, nlri, received, accepted);
      if (accepted !== 0) attributes.release(accepted);
    } else {
      const held: number[] = [];
      refused = rib.announce(this.source, run, nlri, received, (prefix) => {
        const accepted = this.accept(nlri.family, prefix, received);
        if (accepted !== 0) held.push(accepted);
        return accepted;
      });
      for (const id of held) attributes.release(id);
    }
    attributes.release(received);
    return refused;
  }
  #facts(family: Family, prefix: number): RouteFacts {
    const source = this.profile.ebgp ? 'ebgp' : 'ibgp';
    return { prefixes: this.#c.ribs[family].prefixes, prefix, source, peerType: this.#peerType, interface: null };
  }
}

/** The families whose routes may be kept while the peer restarts (RFC 4724 §4.2). */
export const restartFamilies = ({ gracefulRestart }: Negotiated): Family[] =>
  FAMILIES.filter((family) => gracefulRestart?.families[family] !== undefined);
