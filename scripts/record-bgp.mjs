import { appendFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';

/**
 * Records what a routing daemon says to tsnet-bgpd: a proxy between the two that writes down each read from the daemon.
 *
 *     node scripts/record-bgp.mjs OUT LISTEN UPSTREAM SOURCE
 *
 * tsnet-bgpd dials LISTEN (port 179), the proxy dials UPSTREAM from SOURCE, so the daemon's neighbour is SOURCE. The file gets a line for every event,
 * `CONNECTION MILLISECONDS open|close|HEX`; test/golden/bgp.test.ts replays it; a header has to be put before it.
 */
const [out, listen, upstream, source] = process.argv.slice(2);
const began = performance.now();
let count = 0;
writeFileSync(out, '');
createServer((ours) => {
  const id = ++count;
  const note = (what) => appendFileSync(out, `${id} ${Math.round(performance.now() - began)} ${what}\n`);
  const theirs = connect({ host: upstream, port: 179, localAddress: source });
  theirs.on('connect', () => note('open'));
  theirs.on('data', (bytes) => {
    note(bytes.toString('hex'));
    ours.write(bytes);
  });
  ours.on('data', (bytes) => theirs.write(bytes));
  for (const [socket, other] of [
    [ours, theirs],
    [theirs, ours],
  ]) {
    socket.on('error', () => other.destroy());
    socket.on('close', () => other.end());
  }
  theirs.on('close', () => note('close'));
}).listen(179, listen);
