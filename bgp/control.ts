import { chmodSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { type ErrorCode, type Log, type Milliseconds, messageOf, OperationalError } from '#core';

/**
 * The control socket of a daemon: a Unix stream socket, one JSON object a line in both directions.
 *
 *     → {"id":1,"method":"bgp.peers","params":{}}
 *     ← {"id":1,"result":[…]}     or     {"id":1,"error":{"code":"NOT_FOUND","message":"…"}}
 *
 * Only root can connect (the socket's mode is 0600). Requests are answered in the order in which they are done.
 */
export type ControlHandlers = Readonly<Record<string, (params: Readonly<Record<string, unknown>>) => unknown>>;

export interface ControlServer {
  close(): Promise<void>;
}

/** A request longer than this is refused, and its connection closed. */
const LONGEST_REQUEST = 1 << 20;
const MOST_CONNECTIONS = 32;

/** @throws OperationalError CONFIG when the path cannot be listened on, or another daemon answers there. */
export async function serveControl(path: string, handlers: ControlHandlers, log: Log): Promise<ControlServer> {
  if (await answers(path))
    throw new OperationalError('CONFIG', `another daemon already answers on ${path}: stop it, or choose another path`);
  rmSync(path, { force: true });
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', (error) => log.debug({ error: messageOf(error) }, 'control connection'));
    onLines(
      socket,
      (line) => void answer(line, handlers).then((reply) => socket.writable && socket.write(`${reply}\n`)),
    );
  });
  server.maxConnections = MOST_CONNECTIONS;
  await listen(server, path);
  chmodSync(path, 0o600);
  return {
    close: () =>
      new Promise((resolve) => {
        for (const socket of open) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) =>
      reject(new OperationalError('CONFIG', `cannot listen on ${path}: ${messageOf(error)}`)),
    );
    server.listen(path, resolve);
  });
}

/** Whether somebody listens: a socket file that a crash left behind does not count. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.on('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.on('error', () => resolve(false));
  });
}

async function answer(line: string, handlers: ControlHandlers): Promise<string> {
  let id: unknown = null;
  try {
    const request = JSON.parse(line) as { id?: unknown; method?: unknown; params?: unknown };
    id = request.id ?? null;
    const handler =
      typeof request.method === 'string' && Object.hasOwn(handlers, request.method)
        ? handlers[request.method]
        : undefined;
    if (!handler)
      throw new OperationalError(
        'NOT_FOUND',
        `this daemon has no method '${String(request.method)}'; it has ${Object.keys(handlers).join(', ')}`,
      );
    const params = (request.params ?? {}) as Readonly<Record<string, unknown>>;
    return JSON.stringify({ id, result: (await handler(params)) ?? null }, plain);
  } catch (error) {
    const code: ErrorCode = error instanceof OperationalError ? error.code : 'PROTOCOL';
    return JSON.stringify({ id, error: { code, message: messageOf(error) } });
  }
}

const plain = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? value.toString() : value);

function onLines(socket: Socket, take: (line: string) => void): void {
  let rest = '';
  socket.setEncoding('utf8');
  socket.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > LONGEST_REQUEST) return void socket.destroy();
    for (const line of lines) if (line.trim() !== '') take(line);
  });
}

/**
 * Asks a daemon one question.
 * @throws OperationalError UNAVAILABLE when nobody answers at the path, TIMEOUT, or the code that the daemon gave.
 */
export function callControl(
  path: string,
  method: string,
  params: object = {},
  timeout: Milliseconds = 10_000,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    let text = '';
    const fail = (code: ErrorCode, message: string) => {
      socket.destroy();
      reject(new OperationalError(code, message));
    };
    socket.setEncoding('utf8');
    socket.setTimeout(timeout, () => fail('TIMEOUT', `no answer from ${path} within ${timeout / 1000} s`));
    socket.on('error', (error) => fail('UNAVAILABLE', `no daemon answers on ${path}: ${messageOf(error)}`));
    socket.on('end', () => fail('UNAVAILABLE', `the daemon closed ${path} without an answer`));
    socket.on('connect', () => socket.write(`${JSON.stringify({ id: 1, method, params })}\n`));
    socket.on('data', (chunk: string) => {
      text += chunk;
      if (!text.includes('\n')) return;
      socket.destroy();
      const reply = JSON.parse(text.slice(0, text.indexOf('\n'))) as {
        result?: unknown;
        error?: { code: ErrorCode; message: string };
      };
      if (reply.error) reject(new OperationalError(reply.error.code, reply.error.message));
      else resolve(reply.result);
    });
  });
}
