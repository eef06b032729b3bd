import type { Cancel } from '#core';
import { NETLINK, NetlinkSocket, SOL_NETLINK, watchReadable } from './netlink/libc.ts';
import { Datagram, LITTLE } from './netlink/message.ts';

const NETLINK_NETFILTER = 12;
const NFNLGRP_NFTABLES = 7;
/** (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_NEWGEN: sent once for every committed transaction. */
const NEWGEN = (10 << 8) | 15;
const NFGENMSG = 4;
const NFTA_GEN_PROC_PID = 2;
const READS_PER_TURN = 64;

/**
 * Tells who has changed nftables, iptables-nft included: one call for each transaction in this network namespace, with the process that
 * made it and the port id of its socket. A filter in the kernel keeps the rules themselves away; a large write of our own costs one message.
 */
export function watchRules(listener: { changed(pid: number, port: number): void; overrun(): void }): Cancel {
  const socket = new NetlinkSocket(NETLINK_NETFILTER);
  socket.filter(onlyGenerations());
  socket.option(SOL_NETLINK, NETLINK.ADD_MEMBERSHIP, NFNLGRP_NFTABLES);
  const buffer = new Uint8Array(64 << 10);
  let open = true;
  const drain = () => {
    for (let reads = 0; open && reads < READS_PER_TURN; reads++) {
      const count = socket.receive(buffer);
      if (count === 'empty') return;
      if (count === 'overrun') listener.overrun();
      else
        for (const m of new Datagram(buffer, count).messages())
          if (m.type === NEWGEN) listener.changed(processOf(buffer.subarray(m.start, m.end)), m.port);
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

/** Classic BPF: the message type is the third half-word; loads are big-endian whatever the machine. */
function onlyGenerations(): { code: number; jt: number; jf: number; k: number }[] {
  const [LOAD_HALF, JUMP_EQUAL, RETURN] = [0x28, 0x15, 0x06];
  const type = LITTLE ? ((NEWGEN & 0xff) << 8) | (NEWGEN >> 8) : NEWGEN;
  return [
    { code: LOAD_HALF, jt: 0, jf: 0, k: 4 },
    { code: JUMP_EQUAL, jt: 0, jf: 1, k: type },
    { code: RETURN, jt: 0, jf: 0, k: 0xffff_ffff },
    { code: RETURN, jt: 0, jf: 0, k: 0 },
  ];
}

/** The process id in a generation message; 0 if it has none. */
function processOf(message: Uint8Array): number {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  for (let at = NFGENMSG; at + 4 <= message.length; ) {
    const length = view.getUint16(at, LITTLE);
    if (length < 4) return 0;
    // Values of nftables attributes are in network order.
    if ((view.getUint16(at + 2, LITTLE) & 0x3fff) === NFTA_GEN_PROC_PID && length >= 8) return view.getUint32(at + 4);
    at += (length + 3) & ~3;
  }
  return 0;
}
