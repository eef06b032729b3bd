import type { Cell, Feature, Seen } from '../cells.ts';
import type { Lab, Program } from '../lab.ts';

/** What the harness wants of a BGP daemon: a configuration for the cells, and answers to a few questions. */
export interface DaemonKind {
  readonly name: string;
  /** Features that the packaged version has not, with the reason; their cells are left out. */
  readonly lacks: Readonly<Partial<Record<Feature, string>>>;
  /** A single cell that cannot be shown, with the reason; null: it can. */
  omits?(cell: Cell): string | null;
  /** Why a session that only it dials is not awaited after our end; absent: it dials again. */
  readonly dialsLate?: string;
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
  /** What it has noted about the end of the session: text that holds our reason. */
  lastEnd(cell: Cell): Promise<string>;
}
