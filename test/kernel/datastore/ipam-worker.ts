import { appendFileSync } from 'node:fs';
import { type Addr, hasCode, prefix, realClock, silentLog } from '#core';
import { createResources, Ipam, openStore, type Store } from '#datastore';

/**
 * A client of IPAM in a process of its own: assigns and releases until it is killed. What it holds stands in a journal that all share:
 * `got` after an address was given, `free` before it is given back, so that between the two lines nobody else may be given it.
 * Some of them kill themselves right after a write, which no signal from outside hits reliably.
 */
const [endpoint, journal, node, deathAfter] = process.argv.slice(2);
const random = (n: number) => Math.floor(Math.random() * n);

function mortal(store: Store, writes: number): Store {
  let left = writes;
  const txn: Store['txn'] = async (compares, changes) => {
    const result = await store.txn(compares, changes);
    if (result.ok && --left === 0) process.kill(process.pid, 'SIGKILL');
    return result;
  };
  return { ...store, get: store.get.bind(store), list: store.list.bind(store), txn } as Store;
}

const real = await openStore({ type: 'etcdv3', endpoints: [endpoint] }, { clock: realClock, log: silentLog });
const store = Number(deathAfter) > 0 ? mortal(real, Number(deathAfter)) : real;
const ipam = new Ipam({ store, resources: createResources(real, realClock), clock: realClock });
/** Addresses by handle. */
const held = new Map<string, readonly Addr[]>();
const note = (what: 'got' | 'free', address: Addr, handle: string) =>
  appendFileSync(journal, `${what} ${address} ${handle}\n`);

async function assign(n: number): Promise<void> {
  const handle = `w${process.pid}-${n}`;
  const family = random(2) === 0 ? 4 : 6;
  const { assigned } = await ipam.autoAssign({ node, family, count: 1 + random(3), handle, secondary: { node } });
  for (const { address } of assigned) note('got', address, handle);
  held.set(
    handle,
    assigned.map(({ address }) => address),
  );
}

async function release(): Promise<void> {
  const handle = [...held.keys()][random(held.size)];
  const addresses = held.get(handle) ?? [];
  held.delete(handle);
  for (const address of addresses) note('free', address, handle);
  if (random(2) === 0) await ipam.releaseByHandle(handle);
  else await ipam.release(addresses.map((address) => ({ address, handle })));
}

/** Blocks come and go, so that claims race with releases. */
async function giveBack(): Promise<void> {
  const [cidr] = [
    prefix(`10.65.0.${8 * random(16)}/29`),
    prefix(`fd00:65::${(8 * random(16)).toString(16)}/125`),
  ].slice(random(2));
  await ipam.releaseBlock({ type: 'host', name: node }, cidr, { mustBeEmpty: random(4) > 0 });
}

process.send?.('ready');
for (let n = 0; ; n++) {
  try {
    const dice = random(10);
    if (dice === 0) await giveBack();
    else if (held.size === 0 || (dice < 6 && held.size < 6)) await assign(n);
    else await release();
  } catch (error) {
    // Full pools and lost races are honest answers; anything else ends the process with its message.
    if (!hasCode(error, 'EXHAUSTED') && !hasCode(error, 'CONFLICT')) throw error;
  }
}
