import type { Cell, Feature, Seen } from '../cells.ts';
import type { Lab, Program } from '../lab.ts';

/** What the harness wants of a BGP daemon: a configuration for the cells, and answers to a few questions. */
export interface DaemonKind {
  readonly name: string;
  /** Features that the packaged version has not, with the reason; their cells are left out. */
  readonly lacks: Readonly<Partial<Record<Feature, string>>>;
  /** A single cell that cannot be shown, with the reason; null: it can. */
  omits?(cell: Cell): string | null;
  readonly refresh: {
    /** Whether it asks for all routes again, and answers when it is asked; or why not. */
    readonly asks: true | string;
    readonly answers: true | string;
    /** Whether it puts borders around its answer, and knows those that we put then (RFC 7313). */
    readonly borders: boolean;
    readonly knowsBorders: boolean;
  };
  /** Its decision does not look at ORIGINATOR_ID and CLUSTER_LIST: what we reflect to it beats the client itself, and comes back as a loop. */
  readonly ignoresClusters?: true;
  /** As a reflector it marks routes of its own like those of its clients. */
  readonly marksOwnRoutes?: true;
  /** Messages of more than 4096 octets (RFC 8654). */
  readonly extendedMessages?: true;
  /** It speaks, and does not forward what it hears: what the feeders say comes from elsewhere only. */
  readonly speaksOnly?: true;
  /** Which role of graceful restart it cannot show, with the reason. */
  readonly restartLacks?: { readonly restarting?: string; readonly helping?: string };
  create(lab: Lab, settings: DaemonSettings): Daemon;
}

export interface DaemonSettings {
  readonly cells: readonly Cell[];
  /** Internal BGP: it is in our AS, and reflects to and from us. */
  readonly internal: boolean;
}

export interface Daemon {
  /** Starts it, or starts it again; `routes` of THEIR_ROUTES that it originates. */
  start(routes: readonly string[], restarted: boolean): Promise<Program>;
  /** Ids of cells whose session it calls established. */
  established(): Promise<Set<string>>;
  /** What it got from us over the sessions, by cell id. */
  received(): Promise<Map<string, Seen[]>>;
  /** Asks us for all routes again. */
  refresh(cell: Cell): Promise<void>;
  /** Ends the session with a shutdown communication (RFC 9003). */
  shutdown(cell: Cell, text: string): Promise<void>;
  /** What it has noted about the end of the session: text that holds our reason. */
  lastEnd(cell: Cell): Promise<string>;
}
