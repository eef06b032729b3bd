import { measureChurn } from './agent/churn.ts';
import { EDITS, measureEdits } from './agent/edits.ts';
import { measureFirstPacket } from './agent/packet.ts';
import { measureStart, type Report, STARTS } from './agent/start.ts';

/**
 * The whole agent at scale: built, on a real etcd and the real kernel. One JSON object a line on stdout, `{"line", figures…}`. Root, in a network namespace
 * of its own; PROFILE=1 adds to a start where the agent's main thread spent its time, and makes it slower; NODE_FLAGS are given to the agent's Node.js.
 *
 *     unshare --net node --conditions=tsnet-source --import tsx test/bench/agent.bench.ts LINE
 */

const report: Report = (line, figures) => process.stdout.write(`${JSON.stringify({ line, ...figures })}\n`);
const LINES: Record<string, (line: string, report: Report) => Promise<void>> = {
  ...Object.fromEntries(Object.keys(STARTS).map((line) => [line, measureStart])),
  ...Object.fromEntries(EDITS.map((line) => [line, measureEdits])),
  churn: measureChurn,
  'first-packet': measureFirstPacket,
};

const [line] = process.argv.slice(2);
if (!LINES[line]) {
  process.stderr.write(`agent.bench: no line ${line}; there are ${Object.keys(LINES).join(', ')}\n`);
  process.exit(2);
}
await LINES[line](line, report);
process.exit(0);
