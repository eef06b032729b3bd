import { type Io, painter, printable } from '../io.ts';
import type { FlowChange } from './compare.ts';
import type { Impact } from './impact.ts';

/** Flows that people are shown; data has more. */
const MOST = 50;

/** Whose traffic changes, for people: what would be denied comes first. */
export function showImpact(io: Io, { flows, asked, limits }: Impact): void {
  const paint = painter(io.stdout, io.env);
  const line = (text: string) => io.stdout.write(`${printable(text)}\n`);
  line('');
  const sorted = [...flows.filter(({ after }) => after === 'Deny'), ...flows.filter(({ after }) => after === 'Allow')];
  for (const flow of sorted.slice(0, MOST)) {
    const word = flow.after === 'Deny' ? paint('red', 'denied: ') : paint('green', 'allowed:');
    io.stdout.write(`${word} ${printable(flowText(flow))}\n`);
  }
  if (sorted.length > MOST) line(`and ${sorted.length - MOST} more; -o json has them`);
  if (flows.length === 0) line('no traffic would be allowed or denied that was not before');
  const ends = `${asked.ends} ${asked.ends === 1 ? 'end' : 'ends'} that the change concerns`;
  line(`${asked.flows} flows were compared: ${ends} with ${asked.others}, for ${asked.packets} ports and protocols`);
  for (const limit of limits) line(`not all was looked at: ${limit}`);
}

function flowText({ from, to, protocol, port, rule, ipVersion, alike }: FlowChange): string {
  const of = (name: string, size: number) => (size > 1 ? `${name} (and ${size - 1} like it)` : name);
  const what = `${protocol}${port === null ? '' : `/${port}`}${ipVersion === 6 ? ' IPv6' : ''}`;
  return `${of(from, alike.from)} -> ${of(to, alike.to)} ${what}: ${rule}`;
}
