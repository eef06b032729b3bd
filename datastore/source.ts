/** A place in a file, counted from 1, as editors do. */
export interface Position {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** One object of a file, not yet judged, that knows where each of its fields stands. */
export interface SourceDocument extends Position {
  readonly value: unknown;
  /** Where a field such as `spec.ingress[0].action` stands; where it is absent, its nearest parent that is there. */
  locate(field: string): Position;
}

/** A text that is no YAML or JSON at this place. */
export interface SourceFault extends Position {
  readonly message: string;
}

/** What a file holds. */
export interface Source {
  readonly documents: SourceDocument[];
  readonly faults: SourceFault[];
}

/**
 * Reads YAML or JSON of many documents. A list at the top (an array, or an object with `kind: …List` and `items`) counts as the
 * documents it holds; empty documents count for nothing. Faults do not hide the documents around them.
 * The parser is loaded when it is first needed: programs that only read etcd start without it.
 */
export async function readSource(file: string, text: string): Promise<Source> {
  const { readDocuments } = await import('./documents.ts');
  return readDocuments(file, text);
}
