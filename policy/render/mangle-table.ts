import type { Chain, Hook } from '../types.ts';
import type { RenderConfig } from './config.ts';
import { FROM_HOST_ENDPOINT, TO_HOST_ENDPOINT } from './filter-table.ts';
import { ACCEPT, clearMark, ctstate, jump, marked, RETURN, rule, verdictBits } from './phrases.ts';

/** Policy before DNAT, and policy of what the host itself sent and DNATed, whose interface is known only after. */
export function mangleChains(config: RenderConfig): Chain[] {
  const { marks } = config;
  const accept = config.mangleAllowAction === 'Accept' ? ACCEPT : RETURN;
  return [
    {
      name: 'cali-PREROUTING',
      closed: [],
      rules: [
        rule([ctstate('RELATED', 'ESTABLISHED')], accept),
        rule([marked(marks.accept)], accept, 'untracked policy accepted the packet'),
        ...config.interfacePrefixes.map((prefix) => rule([{ m: 'in', iface: `${prefix}+` }], RETURN)),
        rule([], jump(FROM_HOST_ENDPOINT)),
        rule([marked(marks.accept)], accept, 'preDNAT policy accepted the packet'),
      ],
    },
    {
      name: 'cali-POSTROUTING',
      closed: [],
      rules: [
        rule([marked(marks.accept)], RETURN, 'forwarded packet'),
        rule([], clearMark(verdictBits(marks))),
        rule([{ m: 'dnatted' }], jump(TO_HOST_ENDPOINT)),
        rule([marked(marks.accept)], RETURN, 'host endpoint policy accepted the packet'),
      ],
    },
  ];
}

export const mangleHooks = (): Hook[] =>
  ['PREROUTING', 'POSTROUTING'].map((chain) => ({
    table: 'mangle',
    chain,
    insert: [rule([], jump(`cali-${chain}`))],
    append: [],
  }));
