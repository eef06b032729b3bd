import { type Cancel, FAMILIES } from '#core';
import {
  type Failure,
  fdbKey,
  type Netlink,
  type NetlinkListener,
  neighbourKey,
  type Route,
  routeKey,
  trafficKey,
  type VxlanDevice,
} from '../types.ts';
import { columnWrites } from './columns.ts';
import { forgetFlows } from './conntrack.ts';
import { watchEvents } from './events.ts';
import { indexOfLink, nameOfLink } from './libc.ts';
import * as link from './link.ts';
import * as neighbour from './neighbour.ts';
import { Requester, type Write } from './request.ts';
import * as route from './route.ts';
import * as traffic from './traffic.ts';

/**
 * rtnetlink in the network namespace of the process. Requests go one at a time over one socket, events come over another, made by
 * the first `watch`. @throws OperationalError KERNEL without CAP_NET_ADMIN
 */
export function createNetlink(): Netlink {
  const requests = new Requester(0);
  const watches = new Set<Cancel>();
  const write = (writes: readonly Write[]) => requests.write(writes);
  const dumpLinks = () => requests.dump(link.encodeLinkDump, link.decodeLink);

  const listRoutes: Netlink['listRoutes'] = (family) => {
    const nameOf = cached(nameOfLink);
    return requests.dump(
      (w, seq) => route.encodeRouteDump(w, family, seq),
      (d, m) => {
        const found = route.decodeRoute(d, m, nameOf);
        return found?.ours ? found.route : null;
      },
    );
  };

  const listForeignRoutes: Netlink['listForeignRoutes'] = (family) => {
    const nameOf = cached(nameOfLink);
    return requests.dump(
      (w, seq) => route.encodeTableDump(w, family, seq),
      (d, m) => (route.isOurs(d, m) ? null : route.foreignRoute(route.decodeRoute(d, m, nameOf))),
    );
  };

  return {
    listRoutes,
    listForeignRoutes,
    writeRoutes: (writes) => {
      const indexOf = cached(indexOfLink);
      return write(
        writes.map((change) => ({
          key: () => routeKey(change.route),
          fine: change.op === 'delete' ? ['ESRCH'] : [],
          encode: (w, seq) => route.encodeRoute(w, change, seq, indexOf),
        })),
      );
    },
    writeRouteColumns: (writes) => requests.writeColumns(columnWrites(writes, cached(indexOfLink))),
    lookup: (to) => lookup(requests, to),
    listLinks: async () => (await dumpLinks()).map((found) => found.link),
    listAddresses: () => requests.dump(link.encodeAddressDump, link.decodeAddress),
    writeAddresses: (writes) =>
      write(
        writes.map(({ op, link: name, address, length }) =>
          onLink(name, `${address}/${length} ${name}`, op, ['EADDRNOTAVAIL', 'ENODEV'], (w, index, seq) =>
            link.encodeAddress(w, op, index, address, length, seq),
          ),
        ),
      ),
    changeLink: (name, change) =>
      write([onLink(name, name, 'set', [], (w, index, seq) => link.encodeLinkChange(w, index, change, seq))]),
    createVxlan: (device) => createVxlan(requests, device),
    deleteLink: (name) =>
      write([onLink(name, name, 'delete', ['ENODEV'], (w, index, seq) => link.encodeLinkDelete(w, index, seq))]),
    readVxlan: async (name) => {
      const found = (await dumpLinks()).find((l) => l.link.name === name)?.vxlan ?? null;
      return found?.parent ? { ...found, parent: nameOfLink(Number(found.parent.slice(1))) } : found;
    },
    listNeighbours: async (family) => {
      const nameOf = cached(nameOfLink);
      const table = (proxy: boolean) =>
        requests.dump(
          (w, seq) => neighbour.encodeNeighbourDump(w, family, proxy, seq),
          (d, m) => neighbour.decodeNeighbour(d, m, nameOf),
        );
      return [...(await table(false)), ...(await table(true))];
    },
    writeNeighbours: (writes) =>
      write(
        writes.map(({ op, neighbour: entry }) =>
          onLink(entry.link, neighbourKey(entry), op, ['ENOENT', 'ENODEV'], (w, index, seq) =>
            neighbour.encodeNeighbour(w, op, entry, index, seq),
          ),
        ),
      ),
    listFdb: async (name) => {
      const nameOf = cached(nameOfLink);
      const entries = await requests.dump(neighbour.encodeFdbDump, (d, m) => neighbour.decodeFdb(d, m, nameOf));
      return entries.filter((entry) => entry.link === name);
    },
    writeFdb: (writes) =>
      write(
        writes.map(({ op, entry }) =>
          onLink(entry.link, fdbKey(entry), op, ['ENOENT', 'ENODEV'], (w, index, seq) =>
            neighbour.encodeFdb(w, op, entry, index, seq),
          ),
        ),
      ),
    listQdiscs: () => {
      const nameOf = cached(nameOfLink);
      return requests.dump(traffic.encodeQdiscDump, (d, m) => traffic.decodeQdisc(d, m, nameOf));
    },
    listIngressFilters: async (name) => {
      const index = indexOfLink(name);
      if (index === 0) return [];
      return requests.dump(
        (w, seq) => traffic.encodeFilterDump(w, index, seq),
        (d, m) => traffic.decodeFilter(d, m, nameOfLink),
      );
    },
    writeTraffic: (writes) =>
      write(
        writes.map((change) => ({
          key: () => trafficKey(change),
          fine: change.op.startsWith('delete') ? ['ENOENT', 'EINVAL', 'ENODEV'] : [],
          encode: (w, seq) => traffic.encodeTraffic(w, change, seq, indexOfLink),
        })),
      ),
    createIfb: (name, mtu) =>
      write([
        {
          key: () => name,
          encode: (w, seq) => {
            link.encodeIfb(w, name, mtu, seq);
            return null;
          },
        },
      ]),
    forgetFlows,
    watch: (listener: NetlinkListener) => {
      const stop = watchEvents(listener, nameOfLink, requests.port);
      watches.add(stop);
      return () => {
        watches.delete(stop);
        stop();
      };
    },
    close: () => {
      for (const stop of watches) stop();
      watches.clear();
      requests.close();
    },
  };
}

/** A write that needs the interface's index; a delete on an interface that is gone has nothing left to do. */
function onLink(
  name: string,
  key: string,
  op: 'add' | 'set' | 'delete',
  fineOnDelete: readonly string[],
  encode: (w: Parameters<Write['encode']>[0], index: number, seq: number) => void,
): Write {
  return {
    key: () => key,
    fine: op === 'delete' ? fineOnDelete : [],
    encode: (w, seq) => {
      const index = indexOfLink(name);
      if (index === 0) return name;
      encode(w, index, seq);
      return null;
    },
  };
}

async function lookup(requests: Requester, to: Parameters<Netlink['lookup']>[0]): ReturnType<Netlink['lookup']> {
  const answer = await requests.ask(
    (w, seq) => route.encodeRouteGet(w, to, seq),
    (d, m) => route.decodeLookup(d, m, nameOfLink),
  );
  // ENETUNREACH, EHOSTUNREACH, EINVAL of a blackhole: there is no way there, and that is the answer.
  return answer === null || 'refused' in answer ? null : answer;
}

function createVxlan(requests: Requester, device: VxlanDevice): Promise<Failure[]> {
  return requests.write([
    {
      key: () => device.name,
      encode: (w, seq) => {
        const parent = device.parent === undefined ? 0 : indexOfLink(device.parent);
        if (device.parent !== undefined && parent === 0) return device.parent;
        link.encodeVxlan(w, device, parent, seq);
        return null;
      },
    },
  ]);
}

/** One question per name or index within one request. */
function cached<K, V>(ask: (key: K) => V): (key: K) => V {
  const answers = new Map<K, V>();
  return (key) => {
    const known = answers.get(key);
    if (known !== undefined) return known;
    const answer = ask(key);
    answers.set(key, answer);
    return answer;
  };
}

/** Our routes of both families. */
export const listAllRoutes = async (netlink: Pick<Netlink, 'listRoutes'>): Promise<Route[]> =>
  (await Promise.all(FAMILIES.map((family) => netlink.listRoutes(family)))).flat();
