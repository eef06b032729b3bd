import { expect, test } from 'vitest';
import { createMetrics } from '#core';
import { declarePeerMetrics } from '../../../bgp/peer-metrics.ts';
import type { PeerStatus } from '../../../bgp/types.ts';

const peer = (address: string, state: PeerStatus['state']): PeerStatus =>
  ({
    address,
    state,
    flaps: 2,
    prefixes: { ipv4: { received: 3, accepted: 2, advertised: 1 } },
    messages: { update: { in: 5, out: 6 } },
    faults: { withdrawn: 7, noted: 8, refused: 9 },
  }) as unknown as PeerStatus;

test('each peer, and sums by state', async () => {
  const metrics = createMetrics();
  declarePeerMetrics(metrics, () => [peer('10.0.0.1', 'Established'), peer('fd00::1', 'Active')]);
  const text = await metrics.registry.metrics();
  expect(text).toContain('tsnet_bgp_sessions{state="Established"} 1');
  expect(text).toContain('tsnet_bgp_sessions{state="Idle"} 0');
  expect(text).toContain('tsnet_bgp_peer_established{peer="fd00::1"} 0');
  expect(text).toContain('tsnet_bgp_peer_prefixes{peer="10.0.0.1",family="ipv4",kind="accepted"} 2');
  expect(text).toContain('tsnet_bgp_peer_faults{peer="10.0.0.1",kind="refused"} 9');
  expect(text).toContain('tsnet_bgp_peer_flaps{peer="10.0.0.1"} 2');
  expect(text).toContain('tsnet_bgp_peer_messages{peer="10.0.0.1",type="update",direction="out"} 6');
});

test('a peer that is gone is not told any more, and a large mesh tells sums only', async () => {
  const metrics = createMetrics();
  let peers = [peer('10.0.0.1', 'Established')];
  declarePeerMetrics(metrics, () => peers);
  await metrics.registry.metrics();
  peers = Array.from({ length: 100 }, (_, i) => peer(`10.0.1.${i}`, 'Established'));
  const text = await metrics.registry.metrics();
  expect(text).toContain('tsnet_bgp_sessions{state="Established"} 100');
  expect(text).not.toContain('peer="');
});
