import { expect, test } from 'vitest';
import { endpointFailed, etcdError } from '../../../datastore/etcd/errors.ts';

/** gRPC's code (UNKNOWN is 2), etcd's words, what they mean, and whether another endpoint is worth a try. */
const CASES = [
  [14, 'no connection', 'UNAVAILABLE', true],
  [4, 'Deadline exceeded after 5.000s', 'TIMEOUT', true],
  [2, 'context deadline exceeded', 'TIMEOUT', true],
  [2, 'context canceled', 'UNAVAILABLE', true],
  [2, 'etcdserver: no leader', 'UNAVAILABLE', true],
  [14, 'etcdserver: request timed out', 'UNAVAILABLE', true],
  [7, 'etcdserver: permission denied', 'PERMISSION', false],
  [3, 'etcdserver: authentication failed, invalid user ID or password', 'UNAUTHENTICATED', false],
  [11, 'etcdserver: mvcc: required revision has been compacted', 'COMPACTED', false],
  [8, 'etcdserver: mvcc: database space exceeded', 'EXHAUSTED', false],
  [2, 'something new', 'PROTOCOL', false],
] as const;

test.each(CASES)('code %i, %s', (code, details, expected, elsewhere) => {
  const error = etcdError({ code, details }, 'http://192.0.2.1:2379');
  expect([error.code, error.message]).toEqual([expected, `etcd at http://192.0.2.1:2379: ${details}`]);
  expect(endpointFailed(error)).toBe(elsewhere);
});
