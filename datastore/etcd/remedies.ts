/** What etcd, TLS and the network say, and what an operator can do about it. The first that fits is taken. */
const REMEDIES: readonly (readonly [RegExp, string])[] = [
  [/ECONNREFUSED/, 'nobody listens there: is etcd running, and is the endpoint right?'],
  [/ENOTFOUND|EAI_AGAIN|Name resolution failed/, 'the name cannot be resolved'],
  [/no connection in time|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH/, 'is the address right, and is no firewall between?'],
  [
    /before secure TLS connection|wrong version number|packet length too long/,
    'no TLS is spoken there: is it http://?',
  ],
  [
    /alert (bad certificate|unknown ca|certificate (required|expired|unknown|revoked))|certificate required/,
    'etcd refuses the client certificate: is one given, of the CA that etcd trusts, and not past its date?',
  ],
  [/certificate has expired/, "etcd's own certificate is past its date"],
  [/unable to (verify|get)|self[- ]signed/, "etcd's certificate is not of the CA that is configured"],
  [/invalid user ID or password|user name is empty/, 'check the user and the password for etcd'],
  [/permission denied/, "the user's roles do not allow it: see docs/ETCD.md"],
  [/HTTP status/, 'is it etcd that listens there?'],
  [/space exceeded/, 'compact and defragment etcd, then disarm its alarm'],
];

/** The words of a failure in one line, with what can be done about it. */
export function withRemedy(words: string, endpoint: string): string {
  // OpenSSL's own form: id, code, library, function, reason, place in its sources.
  const line = words
    .replaceAll(/(?:[0-9A-F]+:)?error:[0-9A-F]+:[^:]*:[^:]*:([^:]+):\S*?:\d+:(SSL alert number \d+)?/g, 'TLS: $1')
    .replaceAll(/\s*\n\s*/g, ' ')
    .trim();
  const remedy = REMEDIES.find(([pattern]) => pattern.test(line))?.[1] ?? plainRemedy(line, endpoint);
  return remedy ? `${line}; ${remedy}` : line;
}

/** A server of TLS hangs up without a word on who does not speak it. */
const plainRemedy = (line: string, endpoint: string): string | undefined =>
  endpoint.startsWith('http:') && /connection was cut|ECONNRESET|Failed to connect/.test(line)
    ? 'is TLS spoken there, and https:// to be used?'
    : undefined;
