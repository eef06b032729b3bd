import { execFileSync } from 'node:child_process';

/** What the agent has to do with in a network namespace, as text that is equal for equal states: no counters, no order where it means nothing. */
export function kernelState(namespace: string): string {
  const out = execFileSync('ip', ['netns', 'exec', namespace, 'bash', '-c', COMMANDS], {
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  });
  const sections = out.split(/^=== /m).slice(1);
  return sections
    .map((section) => {
      const [title, ...lines] = section.trimEnd().split('\n');
      return `=== ${title}\n${(ORDER[title] ?? sorted)(lines).join('\n')}\n`;
    })
    .join('');
}

const sorted = (lines: string[]) => [...new Set(lines)].sort();

/** Rules keep their order within a chain. */
function byChain(lines: string[]): string[] {
  const chains = new Map<string, string[]>();
  let table = '';
  for (const line of lines) {
    if (line.startsWith('*')) table = line;
    const [, declared, policy] = /^:(\S+) (\S+)/.exec(line) ?? [];
    if (declared) chains.set(`${table} ${declared}`, [policy]);
    const [, chain, rule] = /^-A (\S+) (.*)/.exec(line) ?? [];
    if (chain) chains.get(`${table} ${chain}`)?.push(rule);
  }
  // A chain of the kernel's own that holds nothing may be there or not.
  const parts = [...chains].filter(([name, rules]) => name.includes(' cali-') || rules.length > 1);
  return parts.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, rules]) => `${name}: ${rules.join('\n    ')}`);
}

/** Blocks of `nft list ruleset`, each with its elements in order. */
function byBlock(lines: string[]): string[] {
  const blocks: string[] = [];
  let table = '';
  let block: string[] | undefined;
  for (const raw of lines) {
    const line = raw.replace(/counter packets \d+ bytes \d+/, 'counter').trim();
    if (/^table /.test(line)) table = line;
    else if (/^(chain|set|map) /.test(line)) block = [`${table} ${line}`];
    else if (line === '}' && block) {
      blocks.push(/ (set|map) \S+ \{$/.test(block[0]) ? elements(block) : block.join('\n    '));
      block = undefined;
    } else block?.push(line);
  }
  return blocks.sort();
}
const elements = ([head, ...lines]: string[]): string =>
  [
    head,
    ...lines
      .join(' ')
      .split(/[{},]/)
      .map((e) => e.trim())
      .filter(Boolean)
      .sort(),
  ].join('\n    ');

const ORDER: Record<string, (lines: string[]) => string[]> = {
  'iptables-nft': byChain,
  'ip6tables-nft': byChain,
  'iptables-legacy': byChain,
  'ip6tables-legacy': byChain,
  nft: byBlock,
};

const COMMANDS = `
for t in iptables-nft ip6tables-nft iptables-legacy ip6tables-legacy; do echo "=== $t"; $t-save 2>/dev/null; done
echo '=== nft'; for f in ip ip6; do nft list table $f tsnet 2>/dev/null; done
echo '=== ipset'; ipset save 2>/dev/null | sed 's/ hashsize .*//'
echo '=== routes'; ip route show table all proto 80; ip -6 route show table all proto 80
echo '=== neighbours'; ip neigh show nud permanent; ip -6 neigh show nud permanent
echo '=== fdb'; bridge fdb show 2>/dev/null | grep ' dst '
echo '=== tunnels'; ip -d -o link show type vxlan | sed -E 's/^[0-9]+: //; s/(gso|tso|gro)_[a-z0-9_]+ [0-9]+//g'; ip -o addr show | grep vxlan | sed -E 's/^[0-9]+: //'
echo '=== buckets'; tc qdisc show | grep -v noqueue; ip -o link show type ifb | sed -E 's/^[0-9]+: //; s/link.ether .*//'; for i in $(ls /sys/class/net); do tc filter show dev $i ingress 2>/dev/null | sed "s/^/$i /; s/index [0-9]*//"; done
echo '=== settings'; for i in $( (ip route show proto 80; ip -6 route show proto 80) | grep -o 'dev cali[a-z0-9]*' | cut -c5- | sort -u); do for s in rp_filter route_localnet proxy_arp forwarding; do echo "$i $s $(cat /proc/sys/net/ipv4/conf/$i/$s)"; done; for s in accept_ra proxy_ndp forwarding; do echo "$i six $s $(cat /proc/sys/net/ipv6/conf/$i/$s)"; done; done
`;
