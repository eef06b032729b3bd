import { NetlinkSocket } from '../../../agent/kernel/netlink/libc.ts';
import { Datagram, F, MessageWriter } from '../../../agent/kernel/netlink/message.ts';

/** linux/netfilter/nfnetlink_log.h: subsystem 4. */
const PACKET = 4 << 8;
const CONFIG = PACKET | 1;
const NFULA_CFG = { CMD: 1, MODE: 2, QTHRESH: 5 } as const;
const NFULA_PREFIX = 10;

/** Reads an NFLOG group in the namespace of the process; gives the prefixes that came since. */
export function listenToLog(group: number): { prefixes(): string[]; close(): void } {
  const socket = new NetlinkSocket(12);
  const configure = (type: number, value: Uint8Array) => {
    const w = new MessageWriter(256);
    // nfgenmsg: no family, version 0, the group in network order.
    w.begin(CONFIG, F.REQUEST, 1)
      .u8(0)
      .u8(0)
      .raw(Uint8Array.of(group >> 8, group & 255));
    w.attr(type, value).end();
    socket.send(w.bytes, w.length);
  };
  configure(NFULA_CFG.CMD, Uint8Array.of(1)); // bind
  configure(NFULA_CFG.MODE, Uint8Array.of(0, 0, 0, 0, 1, 0)); // no payload
  configure(NFULA_CFG.QTHRESH, Uint8Array.of(0, 0, 0, 1)); // at once
  const buffer = new Uint8Array(64 << 10);
  return {
    prefixes() {
      const found: string[] = [];
      for (let count = socket.receive(buffer); count !== 'empty'; count = socket.receive(buffer)) {
        if (count === 'overrun') throw new Error('log messages were lost');
        const d = new Datagram(buffer, count);
        for (const m of d.messages())
          if (m.type === PACKET)
            d.attributes(m.start + 4, m.end, (type, at, end) => {
              if (type === NFULA_PREFIX) found.push(d.text(at, end));
            });
      }
      return found;
    },
    close: () => socket.close(),
  };
}
