import { OperationalError } from '#core';
import {
  type AnyResource,
  API_VERSION,
  type FieldError,
  KINDS,
  type Kind,
  type SourceDocument,
  type SourceFault,
  unknownFields,
} from '#datastore';
import type { Io } from './io.ts';
import { kindNamed, named, nearestKind } from './kinds.ts';
import { readResourceFiles } from './resource-files.ts';

/** A document of a file that names a resource. */
export interface Target {
  readonly document: SourceDocument;
  readonly kind: Kind;
  readonly name: string;
  /** null for kinds of the whole cluster. */
  readonly namespace: string | null;
  /** As written, with its namespace; not yet judged. */
  readonly resource: AnyResource;
}

export interface InputOptions {
  readonly filename?: readonly string[];
  readonly recursive?: boolean;
  readonly namespace?: string;
}

/** One thing wrong with a file: where, and about which object. */
export interface Complaint {
  readonly file: string;
  readonly line: number;
  readonly kind: string | null;
  readonly name: string | null;
  readonly field: string | null;
  readonly message: string;
}

/** `pools.yaml:8: IPPool(a): spec.cidr must be …` */
export const complaintText = ({ file, line, kind, name, field, message }: Complaint): string =>
  [`${file}:${line}`, kind && name ? named(kind, name) : null, field ? `${field} ${message}` : message]
    .filter((part) => part !== null)
    .join(': ');

/** All documents of the files: those that name a resource, and what is wrong with the others. */
export async function readInput(
  io: Io,
  options: InputOptions,
): Promise<{ targets: Target[]; complaints: Complaint[] }> {
  if (!options.filename?.length)
    throw new OperationalError('CONFIG', 'give -f FILE, a directory, or -f - for standard input');
  const { documents, faults } = await readResourceFiles(options.filename, options.recursive ?? false, io);
  const complaints = faults.map(fromFault);
  const targets: Target[] = [];
  for (const document of documents) {
    const read = targetOf(document, options.namespace);
    if ('message' in read) complaints.push(read);
    else targets.push(read);
  }
  return { targets, complaints };
}

/** As `readInput`, for verbs that do nothing with files that are not wholly understood. */
export async function readTargets(io: Io, options: InputOptions): Promise<Target[]> {
  const { targets, complaints } = await readInput(io, options);
  if (complaints.length === 0) return targets;
  const [first, ...others] = complaints.map(complaintText);
  throw new OperationalError('VALIDATION', others.length > 0 ? [`${first}`, ...others].join('\n') : first);
}

const fromFault = ({ file, line, message }: SourceFault): Complaint => ({
  file,
  line,
  kind: null,
  name: null,
  field: null,
  message,
});

/** A mistake of a document, placed at a field. */
export function complain(
  document: SourceDocument,
  about: { kind?: string; name?: string },
  error: FieldError,
): Complaint {
  const { file, line } = document.locate(error.field);
  return { file, line, kind: about.kind ?? null, name: about.name ?? null, field: error.field, message: error.message };
}

function targetOf(document: SourceDocument, namespace: string | undefined): Target | Complaint {
  const { value } = document;
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return {
      ...complain(document, {}, { field: '', message: 'is not a resource: an object with kind, metadata and spec' }),
      field: null,
    };
  const raw = value as Record<string, unknown>;
  const kind = kindNamed(raw.kind);
  if (!kind) return complain(document, {}, { field: 'kind', message: kindProblem(raw.kind) });
  if (raw.apiVersion !== API_VERSION)
    return complain(document, { kind, name: nameIn(raw) }, { field: 'apiVersion', message: `must be ${API_VERSION}` });
  const metadata = raw.metadata as Record<string, unknown> | null | undefined;
  if (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata))
    return complain(document, { kind }, { field: 'metadata', message: 'is required: an object with the name' });
  // The name of a workload endpoint follows from its spec, so it may be absent.
  const { name = '' } = metadata;
  if (typeof name !== 'string' || (name === '' && kind !== 'WorkloadEndpoint'))
    return complain(document, { kind }, { field: 'metadata.name', message: 'is required: a text' });
  const within = KINDS[kind].namespaced ? String(metadata.namespace || namespace || 'default') : null;
  const resource = {
    ...raw,
    kind,
    metadata: { ...metadata, ...(within !== null && { namespace: within }) },
    spec: raw.spec ?? {},
  };
  return { document, kind, name, namespace: within, resource: resource as unknown as AnyResource };
}

function nameIn({ metadata }: Record<string, unknown>): string | undefined {
  const name = (metadata as { name?: unknown } | null | undefined)?.name;
  return typeof name === 'string' ? name : undefined;
}

function kindProblem(kind: unknown): string {
  if (typeof kind !== 'string' || kind === '') return 'is required, such as IPPool';
  const near = nearestKind(kind);
  return `'${kind}' is unknown${near ? `, did you mean '${near}'?` : ''}`;
}

/** Fields of the document that no schema knows, which are typing errors in what a person writes. */
export const typingErrors = ({ resource }: Target): FieldError[] => unknownFields(resource);
