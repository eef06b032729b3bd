/** Rounds of `npm run bench`, one JSON object a line, to a Markdown table: the median of each figure, beside that of the first speaker. */
import { createInterface } from 'node:readline';

const FIGURES = ['converge_s', 'withdraw_s', 'kernel_s', 'flap_p50_ms', 'flap_p99_ms', 'cpu_s', 'rss_mb'];
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

/** line → speaker → figure → values */
const lines = new Map();
for await (const text of createInterface({ input: process.stdin })) {
  const round = JSON.parse(text);
  if (round.error) {
    process.stderr.write(`${text}\n`);
    process.exitCode = 1;
    continue;
  }
  const speakers = lines.get(round.line) ?? lines.set(round.line, new Map()).get(round.line);
  const figures = speakers.get(round.peer) ?? speakers.set(round.peer, {}).get(round.peer);
  for (const name of FIGURES)
    if (typeof round[name] === 'number') figures[name] = [...(figures[name] ?? []), round[name]];
}
process.stdout.write('| line | speaker | figure | median | ratio |\n|---|---|---|---|---|\n');
for (const [line, speakers] of lines) {
  const [[, first]] = speakers;
  for (const [peer, figures] of speakers)
    for (const [name, values] of Object.entries(figures)) {
      const value = median(values);
      const base = first[name] ? median(first[name]) : 0;
      const ratio = base > 0 ? (value / base).toFixed(2) : '';
      process.stdout.write(`| ${line} | ${peer} | ${name} | ${value} | ${ratio} |\n`);
    }
}
