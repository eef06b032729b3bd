import { describe, expect, test } from 'vitest';
import type { Family } from '#core';
import {
  createPolicyEngine,
  DEFAULT_RENDER_CONFIG,
  type Hook,
  type PolicyChanges,
  printChain,
  printRules,
  setName,
  TABLES,
} from '#policy';
import { updateOf } from '../scenarios/scenario.ts';
import { cases } from './render/cases.ts';

/**
 * What each construct of the model becomes, as a person reads it: one file a construct, both families, hashes left out.
 * `npx vitest run --project unit -u test/golden` writes the files anew; the difference is then read in review.
 */
describe('rendered text', () => {
  for (const { name, resources, config, facts, interfaces, closed } of cases)
    test(name, async () => {
      const engine = createPolicyEngine({ node: 'node-1', config: { ...DEFAULT_RENDER_CONFIG, ...config } });
      for (const resource of resources) engine.onUpdate(updateOf(resource));
      if (facts) engine.setFacts(facts);
      if (interfaces) engine.setHostInterfaces(interfaces);
      if (closed) engine.setClosed(new Set(closed));
      await expect(textOf(engine.flush())).toMatchFileSnapshot(`render/${name}.txt`);
    });
});

function textOf(changes: PolicyChanges): string {
  const families = [4, 6] as const;
  return families
    .map((family) => `### IPv${family}\n${setsOf(changes, family)}${tablesOf(changes, family)}`)
    .join('\n');
}

function setsOf(changes: PolicyChanges, family: Family): string {
  const sets = changes.sets.filter((s) => s.family === family && s.members);
  const line = ({ id, type, owner, members }: (typeof sets)[number]) =>
    `set ${setName(family, id)} ${type} (${owner}): ${[...members!.added].sort().join(' ')}\n`;
  return sets.map(line).sort().join('');
}

const withoutHash = (text: string): string =>
  text.replace(/ ?-m comment --comment "cali:.{16}"/, '').replace(/"cali:.{16} /, '"');

function tablesOf(changes: PolicyChanges, family: Family): string {
  return TABLES.map((table) => {
    const hooks = (changes.hooks?.[family] ?? []).filter((h) => h.table === table);
    const chains = changes.chains.filter((c) => c.table === table && c.family === family && c.chain);
    if (hooks.length === 0 && chains.length === 0) return '';
    const lines = [
      ...hooks.flatMap((hook) => hookLines(hook, family)),
      ...chains
        .sort((a, b) => (a.name < b.name ? -1 : 1))
        .flatMap(({ chain }) => [
          '',
          ...printChain(chain!, family).map((r) => `-A ${chain!.name} ${withoutHash(r.text).trim()}`),
        ]),
    ];
    return `*${table}\n${lines.join('\n')}\n`;
  }).join('');
}

const hookLines = ({ chain, insert, append }: Hook, family: Family): string[] => [
  ...printRules(chain, insert, family).map((r, i) => `-I ${chain} ${i + 1} ${withoutHash(r.text).trim()}`),
  ...printRules(chain, append, family).map((r) => `-A ${chain} ${withoutHash(r.text).trim()}`),
];
