import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Profile {
  readonly nodes: readonly Node[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}
interface Node {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string };
  readonly children?: readonly number[];
}

/** Where the time of a run went, as shares of what its main thread did: seconds by room of the project, by package, and of V8 itself. */
export function timeByRoom(directory: string): Map<string, number> {
  const seconds = new Map<string, number>();
  for (const name of readdirSync(directory).filter((file) => file.endsWith('.cpuprofile'))) {
    const profile: Profile = JSON.parse(readFileSync(join(directory, name), 'utf8'));
    const places = new Map<number, string>();
    const byId = new Map(profile.nodes.map((node) => [node.id, node]));
    // What V8 and Node.js do by themselves counts for who called them.
    const visit = (id: number, caller: string) => {
      const node = byId.get(id)!;
      const place = placeOf(node) ?? caller;
      places.set(id, place);
      for (const child of node.children ?? []) visit(child, place);
    };
    visit(profile.nodes[0].id, 'node');
    for (const [i, id] of profile.samples.entries()) {
      const place = places.get(id)!;
      seconds.set(place, (seconds.get(place) ?? 0) + profile.timeDeltas[i] / 1e6);
    }
  }
  return new Map([...seconds].sort(([, a], [, b]) => b - a));
}

function placeOf({ callFrame: { url, functionName } }: Node): string | undefined {
  if (functionName === '(garbage collector)' || functionName === '(idle)') return functionName;
  const found =
    /\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url) ?? /\/dist\/((?:[a-z]+)\/(?:[a-z-]+\/)?)/.exec(url) ?? undefined;
  return found?.[1].replace(/\/$/, '');
}
