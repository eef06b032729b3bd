import { resolveSrv } from 'node:dns/promises';
import { OperationalError } from '#core';

/** Endpoints of an etcd from the SRV records of a domain, those with TLS if there are any (etcd's own names of the services). @throws OperationalError UNAVAILABLE */
export async function discoverEndpoints(domain: string): Promise<string[]> {
  const services = [
    { name: `_etcd-client-ssl._tcp.${domain}`, scheme: 'https' },
    { name: `_etcd-client._tcp.${domain}`, scheme: 'http' },
  ];
  for (const { name, scheme } of services) {
    const records = await resolveSrv(name).catch(() => []);
    if (records.length > 0) return records.map((srv) => `${scheme}://${srv.name}:${srv.port}`);
  }
  throw new OperationalError('UNAVAILABLE', `no SRV record ${services.map((s) => s.name).join(' or ')} was found`);
}
