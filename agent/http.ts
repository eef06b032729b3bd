import { createServer, type Server } from 'node:http';
import { type Metrics, messageOf, OperationalError } from '#core';
import type { Health } from './health.ts';
import type { ListenAddress } from './setting-values.ts';

export interface Page {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

/**
 * A small HTTP server for pages that machines poll. Answers GET only, and gives up on clients that are slow to ask.
 * @throws OperationalError (CONFIG) when the address cannot be listened on.
 */
export async function serve(
  what: string,
  listen: ListenAddress,
  pages: Record<string, () => Promise<Page>>,
): Promise<Server> {
  const server = createServer({ requestTimeout: 5000, headersTimeout: 5000 }, (request, response) => {
    const page = pages[(request.url ?? '').split('?')[0]];
    const answer = (p: Page) => response.writeHead(p.status, { 'content-type': p.type }).end(p.body);
    if (request.method !== 'GET' && request.method !== 'HEAD') return answer(plain(405, 'only GET'));
    if (!page) return answer(plain(404, `not here; try ${Object.keys(pages).join(', ')}`));
    page().then(answer, (error) => answer(plain(500, messageOf(error))));
  });
  server.maxConnections = 64;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        new OperationalError('CONFIG', `${what}: cannot listen on ${listen.host}:${listen.port}: ${messageOf(error)}`),
      ),
    );
    server.listen(listen.port, listen.host, resolve);
  });
  return server;
}

const plain = (status: number, body: string): Page => ({
  status,
  type: 'text/plain; charset=utf-8',
  body: `${body}\n`,
});

export const metricsPages = (metrics: Metrics): Record<string, () => Promise<Page>> => ({
  '/metrics': async () => ({ status: 200, type: metrics.registry.contentType, body: await metrics.registry.metrics() }),
});

/** 200 with `ok`, or 503 with one reason a line. */
export const healthPages = (health: Health): Record<string, () => Promise<Page>> => {
  const answer = (reasons: string[]) => (reasons.length === 0 ? plain(200, 'ok') : plain(503, reasons.join('\n')));
  return {
    '/liveness': async () => answer(health.deadReasons),
    '/readiness': async () => answer(health.notReadyReasons),
  };
};
