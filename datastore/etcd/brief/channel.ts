import { type ClientHttp2Session, type ClientHttp2Stream, connect, type IncomingHttpHeaders } from 'node:http2';
import type { Socket } from 'node:net';
import { type Clock, type Milliseconds, messageOf, OperationalError } from '#core';
import type { EtcdConfig } from '../../open.ts';
import { endpointFailed, etcdError, tokenRefused } from '../errors.ts';
import { authenticateRequest, textOf } from '../messages.ts';
import { readTlsFiles, type TlsFiles } from '../tls-files.ts';
import { dial } from './dial.ts';

/** How long a connection may take to come up before the next endpoint is tried. */
const CONNECT: Milliseconds = 2000;
/** How long an answer may take. */
const ANSWER: Milliseconds = 5000;
/** A page of 5 000 resources comes without waiting for permission to send more. */
const WINDOW = 8 << 20;

const UNAVAILABLE = 14;
const DEADLINE_EXCEEDED = 4;

/** Single calls of gRPC over Node.js's own HTTP/2: no streams, no retries but on the next endpoint. */
export class BriefChannel {
  readonly #endpoints: readonly string[];
  readonly #tls: TlsFiles;
  readonly #auth: { readonly username: string; readonly password: string } | null;
  readonly #clock: Clock;
  #current = 0;
  #session: ClientHttp2Session | null = null;
  #socket: Socket | null = null;
  #token: string | null | undefined;

  /** Throws CONFIG when a file cannot be read. */
  constructor(config: EtcdConfig, clock: Clock) {
    this.#clock = clock;
    this.#endpoints = config.endpoints;
    this.#auth = config.username ? { username: config.username, password: config.password ?? '' } : null;
    this.#tls = config.endpoints.some((endpoint) => endpoint.startsWith('https:')) ? readTlsFiles(config) : {};
  }

  /** One call. A read is tried on each endpoint in turn; a write only until it was sent. */
  async call(method: string, request: Buffer, repeatable: boolean): Promise<Buffer> {
    let failure: OperationalError | undefined;
    for (let tried = 0; tried < this.#endpoints.length; tried++) {
      const endpoint = this.#endpoints[this.#current];
      let sent = false;
      try {
        const session = await this.#connected(endpoint);
        const token = await this.#authenticated(session);
        sent = true;
        return await this.#withToken(session, method, request, token);
      } catch (error) {
        failure = etcdError(error, endpoint);
        if (!endpointFailed(failure)) throw failure;
        this.#hangUp();
        this.#current = (this.#current + 1) % this.#endpoints.length;
        if (sent && !repeatable) throw failure;
      }
    }
    throw failure ?? new OperationalError('CONFIG', 'no etcd endpoints are given');
  }

  async #withToken(
    session: ClientHttp2Session,
    method: string,
    request: Buffer,
    token: string | null,
  ): Promise<Buffer> {
    try {
      return await unary(session, this.#clock, method, request, token);
    } catch (error) {
      if (!this.#auth || !tokenRefused(error)) throw error;
      // A refused call did not happen, so even a write may be sent again with a new token.
      this.#token = undefined;
      return unary(session, this.#clock, method, request, await this.#authenticated(session));
    }
  }

  async #authenticated(session: ClientHttp2Session): Promise<string | null> {
    if (!this.#auth) return null;
    if (this.#token !== undefined) return this.#token;
    try {
      const request = authenticateRequest(this.#auth.username, this.#auth.password);
      this.#token = textOf(await unary(session, this.#clock, 'Auth/Authenticate', request, null));
    } catch (error) {
      // A user is configured before authentication is turned on: until then nobody needs a token.
      if (!/authentication is not enabled/.test((error as { details?: string }).details ?? '')) throw error;
      this.#token = null;
    }
    return this.#token;
  }

  async #connected(endpoint: string): Promise<ClientHttp2Session> {
    if (this.#session && !this.#session.closed && !this.#session.destroyed) return this.#session;
    const socket = dial(endpoint, this.#tls);
    const session = connect(endpoint, { createConnection: () => socket, settings: { initialWindowSize: WINDOW } });
    this.#session = session;
    this.#socket = socket;
    await new Promise<void>((resolve, reject) => {
      const cancel = this.#clock.after(CONNECT, () => reject(failed(UNAVAILABLE, 'no connection in time')));
      session.once('connect', () => {
        cancel();
        resolve();
      });
      // Later errors end the stream that is open then; this listener keeps them from ending the program.
      session.on('error', (error) => {
        cancel();
        reject(failed(UNAVAILABLE, messageOf(error)));
      });
    });
    session.setLocalWindowSize(WINDOW);
    return session;
  }

  #hangUp(): void {
    this.#session?.destroy();
    this.#socket?.destroy();
    this.#session = null;
  }

  close(): void {
    this.#hangUp();
  }
}

/** An error in the form that gRPC's clients give it. */
const failed = (code: number, details: string): Error => Object.assign(new Error(details), { code, details });

function unary(
  session: ClientHttp2Session,
  clock: Clock,
  method: string,
  request: Buffer,
  token: string | null,
): Promise<Buffer> {
  const stream = session.request({
    ':method': 'POST',
    ':path': `/etcdserverpb.${method}`,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...(token && { token }),
  });
  const head = Buffer.alloc(5);
  head.writeUInt32BE(request.length, 1);
  stream.end(Buffer.concat([head, request]));
  return answerOf(stream, clock);
}

function answerOf(stream: ClientHttp2Stream, clock: Clock): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let status: IncomingHttpHeaders = {};
    const cancel = clock.after(ANSWER, () => {
      reject(failed(DEADLINE_EXCEEDED, 'no answer in time'));
      stream.destroy();
    });
    // An answer without content has its status among the headers.
    stream.on('response', (headers) => {
      status = headers;
    });
    stream.on('trailers', (trailers) => {
      status = trailers;
    });
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('error', (error) => {
      cancel();
      reject(failed(UNAVAILABLE, messageOf(error)));
    });
    stream.on('close', () => {
      cancel();
      const code = Number(status['grpc-status'] ?? UNAVAILABLE);
      if (code !== 0) reject(failed(code, words(status, code)));
      else resolve(Buffer.concat(chunks).subarray(5));
    });
  });
}

function words(status: IncomingHttpHeaders, code: number): string {
  if (status['grpc-status'] === undefined)
    return (status[':status'] ?? 200) === 200 ? 'the connection was cut' : `HTTP status ${status[':status']}`;
  const text = String(status['grpc-message'] ?? `error ${code}`);
  try {
    return decodeURIComponent(text);
  } catch {
    // Not encoded as gRPC says: better as it is than not at all.
    return text;
  }
}
