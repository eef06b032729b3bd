import {
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  type ParsedNode,
  parseAllDocuments,
} from 'yaml';
import type { Position, Source, SourceDocument, SourceFault } from './source.ts';

/** Larger files are refused unread. */
export const MAX_SOURCE_BYTES = 64 * 1024 * 1024;

/** What `readSource` says, at once. */
export function readDocuments(file: string, text: string): Source {
  const documents: SourceDocument[] = [];
  const faults: SourceFault[] = [];
  const lines = new LineCounter();
  const at = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(1, line), column: Math.max(1, col) };
  };
  if (text.length > MAX_SOURCE_BYTES)
    return { documents, faults: [{ file, line: 1, column: 1, message: `has more than ${MAX_SOURCE_BYTES} bytes` }] };
  const parsed = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, merge: true });
  for (const document of Array.isArray(parsed) ? parsed : []) {
    const fault = document.errors[0];
    if (fault) {
      faults.push({ ...at(fault.pos[0]), message: oneLine(fault.message) });
      continue;
    }
    for (const node of itemsOf(document.contents)) {
      try {
        documents.push(sourceDocument(node, node.toJS(document), at));
      } catch (error) {
        // Aliases without an anchor, or more of them than is sane.
        faults.push({ ...at(node.range[0]), message: oneLine(error instanceof Error ? error.message : String(error)) });
      }
    }
  }
  return { documents, faults };
}

const oneLine = (message: string): string => message.replace(/\s+/g, ' ').trim();

/** The objects that a document holds. */
function itemsOf(contents: ParsedNode | null): ParsedNode[] {
  if (!contents || (isScalar(contents) && contents.value === null)) return [];
  if (isSeq(contents)) return contents.items.flatMap((item) => (isNode(item) ? itemsOf(item as ParsedNode) : []));
  if (!isMap(contents)) return [contents];
  const kind: unknown = contents.get('kind');
  const items: unknown = contents.get('items', true);
  if (typeof kind === 'string' && kind.endsWith('List') && isSeq(items)) return itemsOf(items as ParsedNode);
  return [contents];
}

function sourceDocument(node: ParsedNode, value: unknown, at: (offset: number) => Position): SourceDocument {
  return {
    ...at(node.range[0]),
    value,
    locate: (field) => at(offsetOf(node, pathOf(field))),
  };
}

/** `spec.ingress[0].action` as its steps; a step that holds dots is found by `step` below. */
function pathOf(field: string): (string | number)[] {
  return [...field.matchAll(/\[(\d+)\]|([^.[\]]+)/g)].map((m) => (m[1] === undefined ? m[2] : Number(m[1])));
}

/** The offset of the deepest node on the path: of the key where the parent is a map. */
function offsetOf(root: ParsedNode, path: readonly (string | number)[]): number {
  let node: unknown = root;
  let offset = root.range[0];
  for (let i = 0; i < path.length; ) {
    const found = step(node, path, i);
    if (!found) break;
    offset = found.offset;
    node = found.node;
    i = found.next;
  }
  return offset;
}

/** One step down; keys with dots, as labels have, take several steps of the path. */
function step(
  node: unknown,
  path: readonly (string | number)[],
  i: number,
): { node: unknown; offset: number; next: number } | null {
  if (isSeq(node)) {
    const item = node.items[Number(path[i])];
    return isNode(item) && item.range ? { node: item, offset: item.range[0], next: i + 1 } : null;
  }
  if (!isMap(node)) return null;
  for (let next = path.length; next > i; next--) {
    const pair = pairOf(node.items, path.slice(i, next).join('.'));
    const key = pair?.key as Node | undefined;
    if (pair && key?.range) return { node: pair.value, offset: key.range[0], next };
  }
  return null;
}

const pairOf = (items: readonly unknown[], name: string): Pair | undefined =>
  items.find((item): item is Pair => isPair(item) && isScalar(item.key) && String(item.key.value) === name);
