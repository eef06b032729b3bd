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
  expect(error.code).toBe(expected);
  expect(error.message.startsWith(`etcd at http://192.0.2.1:2379: ${details}`)).toBe(true);
  expect(endpointFailed(error)).toBe(elsewhere);
});

/** Words as Node.js, OpenSSL, gRPC and etcd say them, the endpoint's scheme, and how the line ends. */
const REMEDIES = [
  [
    'connect ECONNREFUSED 127.0.0.1:9',
    'http',
    '127.0.0.1:9; nobody listens there: is etcd running, and is the endpoint right?',
  ],
  ['getaddrinfo ENOTFOUND nosuch.invalid', 'http', '; the name cannot be resolved'],
  ['no connection in time', 'http', '; is the address right, and is no firewall between?'],
  ['the connection was cut', 'http', '; is TLS spoken there, and https:// to be used?'],
  ['the connection was cut', 'https', ': the connection was cut'],
  [
    'Client network socket disconnected before secure TLS connection was established',
    'https',
    '; no TLS is spoken there: is it http://?',
  ],
  [
    '80FCCB50267F0000:error:0A000412:SSL routines:ssl3_read_bytes:sslv3 alert bad certificate:../deps/openssl/openssl/ssl/record/rec_layer_s3.c:1601:SSL alert number 42\n',
    'https',
    ': TLS: sslv3 alert bad certificate; etcd refuses the client certificate: is one given, of the CA that etcd trusts, and not past its date?',
  ],
  ['unable to verify the first certificate', 'https', "; etcd's certificate is not of the CA that is configured"],
  ['etcdserver: user name is empty', 'https', '; check the user and the password for etcd'],
  ['etcdserver: permission denied', 'https', "; the user's roles do not allow it: see docs/ETCD.md"],
  ['etcdserver: mvcc: database space exceeded', 'https', '; compact and defragment etcd, then disarm its alarm'],
] as const;

test.each(REMEDIES)('%s at %s: is one line that says what to do', (words, scheme, end) => {
  const { message } = etcdError({ code: 14, details: words }, `${scheme}://192.0.2.1:2379`);
  expect(message.endsWith(end), message).toBe(true);
  expect(message).not.toContain('\n');
});
