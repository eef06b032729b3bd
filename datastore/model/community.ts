import type { Check } from './fields.ts';
import { shown } from './fields.ts';

/** `aa:nn` of 16 bits each, or `aa:nn:mm` of 32 bits each (RFC 1997, RFC 8092). */
export const community: Check = (value) => {
  const parts = /^[0-9]{1,10}(:[0-9]{1,10}){1,2}$/.test(value) ? value.split(':').map(Number) : [];
  const most = parts.length === 2 ? 0xffff : 0xffffffff;
  return parts.length > 0 && parts.every((part) => part <= most)
    ? null
    : `must be a community aa:nn (16 bits each) or aa:nn:mm (32 bits each); '${shown(value)}' is not`;
};
