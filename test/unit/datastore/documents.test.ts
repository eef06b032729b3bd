import { describe, expect, test } from 'vitest';
import { readDocuments } from '../../../datastore/documents.ts';

const TWO = `# pools
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: a
  labels: {example.com/team: net}
spec:
  cidr: 10.0.0.0/16
---
kind: GlobalNetworkPolicy
metadata: {name: p}
spec:
  ingress:
    - action: Allow
    - action: Deny
      source:
        nets: [10.0.0.0/8]
`;

describe('documents of a file', () => {
  test('each knows its own line and the line of each field', () => {
    const { documents, faults } = readDocuments('two.yaml', TWO);
    expect(faults).toEqual([]);
    expect(documents.map((d) => [d.file, d.line])).toEqual([
      ['two.yaml', 2],
      ['two.yaml', 10],
    ]);
    const [pool, policy] = documents;
    expect(pool.locate('spec.cidr')).toEqual({ file: 'two.yaml', line: 8, column: 3 });
    expect(pool.locate('metadata.labels.example.com/team').line).toBe(6);
    expect(policy.locate('spec.ingress[1].source.nets[0]')).toEqual({ file: 'two.yaml', line: 17, column: 16 });
  });

  test('an absent field is placed at its nearest parent', () => {
    const [, policy] = readDocuments('two.yaml', TWO).documents;
    expect(policy.locate('spec.ingress[1].destination.ports').line).toBe(15);
    expect(policy.locate('spec.ingress[9]').line).toBe(13);
    expect(policy.locate('status').line).toBe(10);
  });

  test('JSON with tabs, lists and arrays give their items', () => {
    const list = '{\n\t"kind": "NodeList",\n\t"items": [\n\t\t{"kind": "Node"},\n\t\t{"kind": "Node"}\n\t]\n}';
    expect(readDocuments('l.json', list).documents.map((d) => d.line)).toEqual([4, 5]);
    expect(readDocuments('a.json', '[{"kind":"Node"},\n{"kind":"Tier"}]').documents.map((d) => d.value)).toEqual([
      { kind: 'Node' },
      { kind: 'Tier' },
    ]);
  });

  test('empty documents count for nothing', () => {
    expect(readDocuments('e.yaml', '---\n---\n# nothing\n---\nkind: Node\n').documents.map((d) => d.value)).toEqual([
      { kind: 'Node' },
    ]);
    expect(readDocuments('e.yaml', '').documents).toEqual([]);
  });

  test('a fault is placed and hides no other document', () => {
    const { documents, faults } = readDocuments('f.yaml', 'kind: Node\n---\nkind: "Node\nspec: {\n---\nkind: Tier\n');
    expect(documents.map((d) => d.value)).toContainEqual({ kind: 'Node' });
    expect(faults).not.toEqual([]);
    expect(faults[0]).toMatchObject({ file: 'f.yaml' });
    expect(faults[0].line).toBeGreaterThanOrEqual(3);
    expect(faults[0].message).not.toContain('\n');
  });

  test('a key that stands twice is a fault at its second place', () => {
    expect(readDocuments('d.yaml', 'kind: Node\nspec: {}\nkind: Tier\n').faults).toMatchObject([
      { line: 3, message: expect.stringMatching(/unique/i) },
    ]);
  });

  test('aliases that multiply are refused', () => {
    const bomb = `a: &a [x,x,x,x,x,x,x,x,x,x]\n${[...'bcdefgh']
      .map((c, i) => `${c}: &${c} [${Array(10).fill(`*${'abcdefg'[i]}`).join(',')}]`)
      .join('\n')}\n`;
    expect(readDocuments('b.yaml', bomb).faults).toHaveLength(1);
  });
});
