/** A key as bytes, as etcd has it. */
export const keyBytes = (key: string): Buffer => Buffer.from(key, 'utf8');

/** The end of the range of all keys with the prefix: the prefix with its last byte counted up. */
export function prefixEnd(prefix: string | Buffer): Buffer {
  const end = Buffer.from(prefix);
  for (let i = end.length - 1; i >= 0; i--) {
    if (end[i] === 0xff) continue;
    end[i]++;
    return end.subarray(0, i + 1);
  }
  return Buffer.from([0]);
}

/** The first key after this one. */
export const keyAfter = (key: Buffer): Buffer => Buffer.concat([key, Buffer.from([0])]);
