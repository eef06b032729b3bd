import { shown } from './fields.ts';
import type { Report } from './kind.ts';

const NAME = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const PREFIX = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const ANNOTATIONS_BYTES = 256 * 1024;

/** Whether it is Kubernetes' `[prefix/]name`: a name of at most 63, a prefix that is a DNS subdomain. */
export function isQualifiedName(key: string): boolean {
  const slash = key.indexOf('/');
  const prefix = key.slice(0, Math.max(0, slash));
  return NAME.test(key.slice(slash + 1)) && (slash < 0 || (prefix.length <= 253 && PREFIX.test(prefix)));
}

/** Kubernetes' rules for labels. Selectors accept more, so a stored label that breaks them is tolerated. */
export function checkLabels(labels: Record<string, string> | undefined, field: string, report: Report): void {
  for (const [key, value] of Object.entries(labels ?? {})) {
    if (!isQualifiedName(key))
      report.limit(field, `'${shown(key)}' is not a label key such as team or example.com/team`);
    if (value !== '' && !NAME.test(value))
      report.limit(`${field}.${shown(key)}`, `'${shown(value)}' is not a label value: at most 63 of [A-Za-z0-9_.-]`);
  }
}

/** Kubernetes' rules for annotations; never a reason to refuse a stored object. */
export function checkAnnotations(annotations: Record<string, string> | undefined, field: string, report: Report): void {
  let bytes = 0;
  for (const [key, value] of Object.entries(annotations ?? {})) {
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
    if (!isQualifiedName(key.toLowerCase())) report.limit(field, `'${shown(key)}' is not an annotation key`);
  }
  if (bytes > ANNOTATIONS_BYTES) report.limit(field, `holds ${bytes} bytes; at most ${ANNOTATIONS_BYTES} are allowed`);
}
