import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { TlsFiles } from '../tls-files.ts';

/**
 * Dials an endpoint such as `https://[fd00::1]:2379`. The socket is ours to destroy, because an HTTP/2 session that is destroyed before it
 * has come up leaves its socket dialling: for two minutes, where packets are swallowed.
 */
export function dial(endpoint: string, tls: TlsFiles): Socket {
  const { protocol, hostname, port } = new URL(endpoint);
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  if (protocol === 'http:') return connect({ host, port: Number(port || 80) });
  const servername = isIP(host) ? {} : { servername: host };
  return connectTls({ ...tls, ...servername, host, port: Number(port || 443), ALPNProtocols: ['h2'] });
}
