import { decodeResource } from '../codec.ts';
import { decodeAffinity, decodeBlock } from '../ipam-codec.ts';
import type { ParsedKey } from '../keys.ts';
import type { KeyValue } from '../store.ts';
import type { Watched, WatchedKind } from '../update.ts';
import { describeErrors } from '../validate.ts';

/** The object that a key holds, null when it cannot be used; a message when something about it is wrong. */
export function decodeValue(
  entry: KeyValue,
  parsed: ParsedKey,
): { object: Watched[WatchedKind] | null; message: string | null } {
  switch (parsed.type) {
    case 'resource': {
      const decoded = decodeResource(entry, parsed);
      if (!decoded.ok) return { object: null, message: decoded.error };
      const { resource, leftOut } = decoded.value;
      const message = leftOut.length > 0 ? `left out: ${describeErrors(leftOut)}` : null;
      return { object: resource, message };
    }
    case 'affinity': {
      const decoded = decodeAffinity(entry.value, parsed.owner, parsed.cidr);
      return decoded.ok ? { object: decoded.value, message: null } : { object: null, message: decoded.error };
    }
    case 'block': {
      const decoded = decodeBlock(entry.value);
      if (!decoded.ok) return { object: null, message: decoded.error };
      if (decoded.value.cidr === parsed.cidr) return { object: decoded.value, message: null };
      return { object: null, message: `cidr is ${decoded.value.cidr}, but the key says ${parsed.cidr}` };
    }
    default:
      return { object: null, message: null };
  }
}
