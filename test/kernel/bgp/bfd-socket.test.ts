import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Addr, addr } from '#core';
import type { BfdSocket } from '../../../bgp/bfd/endpoint.ts';
import { openBfdSocket } from '../../../bgp/bfd/socket.ts';
import { enterNamespace, type Namespace, until } from '../namespace.ts';

const PORT = 3784;

let ns: Namespace;
beforeAll(() => {
  ns = enterNamespace('bfd');
  ns.sh(`ip addr add 10.0.0.1/32 dev lo; ip addr add 10.0.0.2/32 dev lo
    ip addr add fd00::1/128 dev lo nodad; ip addr add fd00::2/128 dev lo nodad`);
});
afterAll(() => ns.leave());

test.each([
  ['10.0.0.1', '10.0.0.2'],
  ['fd00::1', 'fd00::2'],
])('%s: what is sent before the socket is closed arrives: the peer must hear of AdminDown', async (here, there) => {
  const heard: [Uint8Array, Addr][] = [];
  const open = (local: string): BfdSocket =>
    openBfdSocket(PORT, addr(local), false, (bytes, from) => heard.push([Uint8Array.from(bytes), from]));
  const far = open(there);
  const near = open(here);
  near.send(Uint8Array.of(1), addr(there), PORT);
  await until('a packet', () => heard.length === 1);
  near.send(Uint8Array.of(2), addr(there), PORT);
  near.close();
  await until('the last word', () => heard.length === 2);
  expect(heard[1]).toEqual([Uint8Array.of(2), here]);
  far.close();
});
