import type { PeerStatus, RouteInfo } from '#bgp';
import type { NodeStatus } from './status.ts';

/**
 * What an agent writes of itself to `/tsnet/v1/status/<node>`, for `tsnetctl ... --node` and `--all`: the very values that its control
 * socket gives.
 */
export interface PublishedStatus {
  /** RFC 3339; when it was written. */
  readonly updated: string;
  readonly status: NodeStatus;
  readonly peers: readonly PeerStatus[];
  /** The best routes, unless there are too many to keep in the datastore. */
  readonly routes: readonly RouteInfo[] | null;
}
