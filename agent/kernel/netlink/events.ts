import type { Cancel } from '#core';
import { type NetlinkListener, ROUTE_PROTOCOL } from '../types.ts';
import { NETLINK, NetlinkSocket, SOL_NETLINK, watchReadable } from './libc.ts';
import { decodeAddress, decodeLink, RTM_ADDR, RTM_LINK } from './link.ts';
import { Datagram, LITTLE, type Message } from './message.ts';
import { NUD, RTM_NEIGH } from './neighbour.ts';
import { decodeRoute, foreignRoute, isOurs, type NameOf, RTM } from './route.ts';
import { linkOf, RTM_FILTER, RTM_QDISC } from './traffic.ts';

/** Multicast groups (linux/rtnetlink.h): RTNLGRP_LINK, IPV4_IFADDR and IPV6_IFADDR, IPV4_ROUTE and IPV6_ROUTE, TC, NEIGH, IPV4_NETCONF and IPV6_NETCONF. */
const GROUPS = {
  ...{ link: [1], address: [5, 9], route: [7, 11], foreign: [7, 11], traffic: [4], neighbour: [3], setting: [24, 25] },
} as const;
const KINDS = Object.keys(GROUPS) as (keyof typeof GROUPS)[];
const RTM_NEWNETCONF = 80;
/** linux/netconf.h: an attribute, and what it says of a setting of the node. */
const NETCONF = { INDEX: 1, ALL: -1 } as const;
/** Datagrams handled before the loop gets its turn; the rest waits in the socket. */
const READS_PER_TURN = 256;

/**
 * Listens to links, addresses, routes, neighbours, and what limits traffic. A socket filter in the kernel lets only those route messages wake us that matter:
 * routes of our protocol, and replacements (a stranger may have replaced ours); not the echo of what `ownPort` wrote.
 */
export function watchEvents(listener: NetlinkListener, nameOf: NameOf, ownPort: number): Cancel {
  const socket = new NetlinkSocket(0);
  socket.filter(listener.foreign ? foreignFilter() : listener.neighbour ? neighbourFilter() : routeFilter(ownPort));
  for (const kind of KINDS)
    if (listener[kind]) for (const group of GROUPS[kind]) socket.option(SOL_NETLINK, NETLINK.ADD_MEMBERSHIP, group);
  const buffer = new Uint8Array(64 << 10);
  let open = true;
  const drain = () => {
    for (let reads = 0; open && reads < READS_PER_TURN; reads++) {
      const count = socket.receive(buffer);
      if (count === 'empty') return;
      if (count === 'overrun') listener.overrun();
      else {
        const d = new Datagram(buffer, count);
        for (const m of d.messages()) if (m.port !== ownPort || !isTraffic(m.type)) dispatch(d, m, listener, nameOf);
      }
    }
  };
  const stop = watchReadable(socket.fd, drain);
  return () => {
    if (!open) return;
    open = false;
    stop();
    socket.close();
  };
}

function dispatch(d: Datagram, m: Message, listener: NetlinkListener, nameOf: NameOf): void {
  switch (m.type) {
    case RTM_LINK.NEW:
    case RTM_LINK.DEL: {
      const found = decodeLink(d, m);
      if (found) listener.link?.({ link: found.link, gone: m.type === RTM_LINK.DEL });
      return;
    }
    case RTM_ADDR.NEW:
    case RTM_ADDR.DEL: {
      const address = decodeAddress(d, m);
      if (address) listener.address?.(address, m.type === RTM_ADDR.DEL);
      return;
    }
    case RTM.NEWROUTE:
    case RTM.DELROUTE: {
      const found = decodeRoute(d, m, nameOf);
      const foreign = listener.foreign && !isOurs(d, m) ? foreignRoute(found) : null;
      if (found && foreign) listener.foreign?.(found.family, foreign, m.type === RTM.DELROUTE);
      if (found) listener.route?.(found.family, found.route, m.type === RTM.DELROUTE || !found.ours);
      return;
    }
    case RTM_NEIGH.NEW:
    case RTM_NEIGH.DEL:
      listener.neighbour?.(nameOf(d.u32(m.start + 4)));
      return;
    case RTM_NEWNETCONF:
      // One byte of family, filled up to four.
      d.attributes(m.start + 4, m.end, (type, at) => {
        const index = type === NETCONF.INDEX ? d.i32(at) : undefined;
        if (index !== undefined) listener.setting?.(index === NETCONF.ALL ? '' : nameOf(index));
      });
      return;
    default:
      if (isTraffic(m.type)) listener.traffic?.(nameOf(linkOf(d, m)));
  }
}

const isTraffic = (type: number): boolean =>
  type === RTM_QDISC.NEW || type === RTM_QDISC.DEL || type === RTM_FILTER.NEW || type === RTM_FILTER.DEL;

/**
 * As `routeFilter`, for whoever wants the neighbours that somebody has put there: what the kernel finds out by itself changes all the time. One that is
 * deleted is told of as one that failed.
 */
export function neighbourFilter(): { code: number; jt: number; jf: number; k: number }[] {
  const [LOAD_BYTE, JUMP_EQUAL, JUMP_SET, RETURN] = [0x30, 0x15, 0x45, 0x06];
  const step = (code: number, k: number, jt = 0, jf = 0) => ({ code, jt, jf, k });
  return [
    step(LOAD_BYTE, LITTLE ? 4 : 5), // low byte of nlmsg_type
    step(JUMP_EQUAL, RTM_NEIGH.NEW, 0, 2),
    step(LOAD_BYTE, 16 + (LITTLE ? 8 : 9)), // low byte of ndm_state
    step(JUMP_SET, NUD.PERMANENT | NUD.FAILED, 0, 1),
    step(RETURN, 0xffff_ffff),
    step(RETURN, 0),
  ];
}

/** As `routeFilter`, for whoever wants the routes of all protocols but ours. */
export function foreignFilter(): { code: number; jt: number; jf: number; k: number }[] {
  const [LOAD_BYTE, JUMP_EQUAL, RETURN] = [0x30, 0x15, 0x06];
  const step = (code: number, k: number, jt = 0, jf = 0) => ({ code, jt, jf, k });
  return [
    step(LOAD_BYTE, LITTLE ? 4 : 5), // low byte of nlmsg_type
    step(JUMP_EQUAL, RTM.NEWROUTE, 1, 0),
    step(JUMP_EQUAL, RTM.DELROUTE, 0, 2), // no route message: accept
    step(LOAD_BYTE, 16 + 5), // rtm_protocol
    step(JUMP_EQUAL, ROUTE_PROTOCOL, 1, 0),
    step(RETURN, 0xffff_ffff),
    step(RETURN, 0),
  ];
}

/** Classic BPF over the netlink header (16 bytes) and the rtmsg after it; loads are big-endian whatever the machine. */
export function routeFilter(ownPort: number): { code: number; jt: number; jf: number; k: number }[] {
  const [LOAD_BYTE, LOAD_WORD, JUMP_EQUAL, JUMP_SET, RETURN] = [0x30, 0x20, 0x15, 0x45, 0x06];
  const typeLow = LITTLE ? 4 : 5;
  const flagsHigh = LITTLE ? 7 : 6;
  const port = LITTLE ? Buffer.from(Uint32Array.of(ownPort).buffer).readUInt32BE() : ownPort;
  const step = (code: number, k: number, jt = 0, jf = 0) => ({ code, jt, jf, k });
  return [
    step(LOAD_BYTE, typeLow),
    step(JUMP_EQUAL, RTM.NEWROUTE, 1, 0),
    step(JUMP_EQUAL, RTM.DELROUTE, 0, 6), // no route message: accept
    step(LOAD_WORD, 12), // nlmsg_pid: who caused it
    step(JUMP_EQUAL, port, 5, 0), // ourselves: drop
    step(LOAD_BYTE, 16 + 5), // rtm_protocol
    step(JUMP_EQUAL, ROUTE_PROTOCOL, 2, 0),
    step(LOAD_BYTE, flagsHigh),
    step(JUMP_SET, 0x01, 0, 1), // NLM_F_REPLACE
    step(RETURN, 0xffff_ffff),
    step(RETURN, 0),
  ];
}
