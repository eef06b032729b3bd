import { describe, expect, test } from 'vitest';
import type { Family } from '#core';
import {
  type Chain,
  createPolicyEngine,
  DEFAULT_RENDER_CONFIG,
  type Hook,
  nftChain,
  type PolicyChanges,
  printChain,
  printHook,
  printNftRules,
  setName,
  TABLES,
  type Table,
  verdictMap,
} from '#policy';
import { updateOf } from '../scenarios/scenario.ts';
import { type Case, cases } from './render/cases.ts';

/**
 * What each construct of the model becomes, as a person reads it: one file a construct, both families, hashes left out.
 * `npx vitest run --project unit test/golden -u` writes the files anew; the difference is then read in review.
 */
describe('rendered text', () => {
  for (const golden of cases)
    test(golden.name, async () => {
      await expect(textOf(changesOf(golden, 'tree'))).toMatchFileSnapshot(`render/${golden.name}.txt`);
      await expect(nftOf(changesOf(golden, 'map'))).toMatchFileSnapshot(`render/${golden.name}.nft`);
    });
});

function changesOf(of: Case, dispatch: 'tree' | 'map'): PolicyChanges {
  const { resources, config, facts, interfaces, closed } = of;
  const engine = createPolicyEngine({ node: 'node-1', config: { ...DEFAULT_RENDER_CONFIG, dispatch, ...config } });
  for (const resource of resources) engine.onUpdate(updateOf(resource));
  if (facts) engine.setFacts(facts);
  if (interfaces) engine.setHostInterfaces(interfaces);
  if (closed) engine.setClosed(new Set(closed));
  return engine.flush();
}

/** Chains of IPv4, as nft has them in one table, and before each chain the verdict map that it looks into; the other family differs in words only. */
function nftOf(changes: PolicyChanges): string {
  const print = (table: Table, { name, rules }: Chain) =>
    printNftRules(table, name, rules, 4)
      .map((r) => `\t${r.text.replace(/ comment "cali:.{16}"/, '').replace(/"cali:.{16} /, '"')}\n`)
      .join('');
  const map = (table: Table, chain: Chain) =>
    [...(verdictMap(chain) ?? [])]
      .map(([iface, to]) => `@${nftChain(table, chain.name)} "${iface}" : goto ${nftChain(table, to)}\n`)
      .join('');
  const chains = TABLES.flatMap((table) => [
    ...(changes.hooks?.[4] ?? [])
      .filter((h) => h.table === table)
      .map((h) => ({ name: h.chain, rules: [...h.insert, ...h.append] }))
      .map((chain) => `${nftChain(table, chain.name)}\n${print(table, chain)}`),
    ...changes.chains
      .flatMap((c) => (c.table === table && c.family === 4 && c.chain ? [c.chain] : []))
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map((chain) => `${map(table, chain)}${nftChain(table, chain.name)}\n${print(table, chain)}`),
  ]);
  return chains.join('\n');
}

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
  ...printHook(chain, insert, family).map((r, i) => `-I ${chain} ${i + 1} ${withoutHash(r.text).trim()}`),
  ...printHook(chain, append, family).map((r) => `-A ${chain} ${withoutHash(r.text).trim()}`),
];
