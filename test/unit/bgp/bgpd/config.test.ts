import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readConfig } from '../../../../bgp/bgpd/config.ts';
import { schema } from '../../../../bgp/bgpd/schema.ts';
import { EFFECTS } from '../../../../bgp/reset.ts';
import type { PeerConfig } from '../../../../bgp/types.ts';

const GOOD = `asNumber: 65000
routerId: 10.99.0.1
listen: {address: 10.99.0.1, port: 179}
networks: [10.1.0.0/16, 'fd00::/48']
peers:
  - address: 10.99.0.2
    asNumber: 65001
    families: [ipv4, ipv6]
    addPath: both
    gracefulRestart: {restartTime: 120}
  - range: 10.99.0.0/24
    asNumbers: [65100, 65101]
    maxPeers: 100
`;
const errors = (text: string) => {
  const read = readConfig('bgpd.yaml', text);
  return 'errors' in read ? read.errors : [];
};

test('a good file', () => {
  const read = readConfig('bgpd.yaml', GOOD);
  if ('errors' in read) throw new Error(read.errors.join());
  expect(read.config.speaker).toMatchObject({
    asNumber: 65000,
    holdTime: 90,
    listen: [{ address: '10.99.0.1', port: 179 }],
  });
  expect(read.config.networks.map((route) => route.prefix)).toEqual(['10.1.0.0/16', 'fd00::/48']);
  expect(read.config.peers[0]).toMatchObject({
    name: '10.99.0.2',
    families: [4, 6],
    addPath: { receive: true, send: true },
  });
  expect(read.config.peers[1]).toMatchObject({
    name: '10.99.0.0/24',
    range: '10.99.0.0/24',
    asNumbers: [65100, 65101],
  });
});
test('JSON is YAML', () => expect(errors('{"asNumber": 65000, "routerId": "10.0.0.1"}')).toEqual([]));
test.each([
  ['an unknown key', GOOD.replace('addPath', 'addpath'), ['bgpd.yaml:9: peers[0].addpath: unknown key']],
  ['an unknown key at the top', `${GOOD}foo: 1\n`, ['bgpd.yaml:14: foo: unknown key']],
  ['host bits', GOOD.replace('10.1.0.0/16', '10.1.0.1/16'), [expect.stringContaining('bgpd.yaml:4: networks[0]: ')]],
  [
    'AS 0',
    GOOD.replace('asNumber: 65001', 'asNumber: 0'),
    [expect.stringContaining('bgpd.yaml:7: peers[0].asNumber: ')],
  ],
  ['a hold time of 2', `${GOOD}holdTime: 2\n`, ['bgpd.yaml:14: holdTime: must be 0 or at least 3 seconds']],
  [
    'no address',
    GOOD.replace('- address: 10.99.0.2\n    ', '- '),
    [expect.stringContaining('needs either address or range')],
  ],
  [
    'a peer twice',
    `${GOOD}  - {address: 10.99.0.2, asNumber: 1}\n`,
    [expect.stringContaining('10.99.0.2 is configured twice')],
  ],
  ['no YAML', 'asNumber: [', [expect.stringMatching(/^bgpd\.yaml:\d+: /)]],
])('%s is refused with its place', (_, text, expected) => expect(errors(text)).toEqual(expected));

describe('docs/BGPD.md', () => {
  const page = readFileSync(join(import.meta.dirname, '../../../../docs/BGPD.md'), 'utf8');
  const rows = new Map(
    page
      .split('\n')
      .filter((line) => line.startsWith('| `'))
      .map((line) => line.split('|').map((cell) => cell.trim()))
      .map((cells) => [cells[1].replaceAll('`', ''), cells[4]]),
  );
  const FIELDS: Readonly<Record<string, keyof PeerConfig>> = {
    asNumber: 'asNumbers',
    import: 'importPolicy',
    export: 'exportPolicy',
  };
  test('names every key of the speaker', () => {
    expect(Object.keys(schema.shape).filter((key) => key !== 'peers' && !rows.has(key))).toEqual([]);
  });
  test('says of every key of a peer what a change does, as bgp/reset.ts has it', () => {
    const peer = schema.shape.peers.def.innerType.element;
    const told = Object.keys(peer.shape).map((key) => [key, rows.get(key)]);
    expect(told).toEqual(
      Object.keys(peer.shape).map((key) => [key, EFFECTS[FIELDS[key] ?? (key as keyof PeerConfig)]]),
    );
  });
});
