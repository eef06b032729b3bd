import { type CallOptions, Channel, type Client, connectivityState, Metadata } from '@grpc/grpc-js';
import { AuthClient } from 'etcd3';
import { Host } from 'etcd3/lib/connection-pool.js';
import type { ICallable, Services } from 'etcd3/lib/rpc.js';
import type { Clock, Log, Milliseconds, OperationalError } from '#core';
import type { EtcdConfig } from '../open.ts';
import { Credentials } from './credentials.ts';
import { endpointFailed, etcdError, tokenRefused } from './errors.ts';

type Service = keyof typeof Services;

/** How long a connection may take to come up before the next endpoint is tried. */
const CONNECT: Milliseconds = 2000;
/** How long an answer may take. */
const ANSWER: Milliseconds = 5000;
/** How long the reason for a missing connection is waited for. */
const REASON: Milliseconds = 100;
/** How often TLS files are looked at, at most. */
const LOOK: Milliseconds = 1000;

const CHANNEL = {
  // The default of 4 MB fails at ten thousand keys; pages bound what is really sent.
  'grpc.max_receive_message_length': -1,
  'grpc.max_send_message_length': -1,
  // A page comes without waiting for permission to send more of it.
  'grpc-node.flow_control_window': 8 << 20,
  // A server that stopped answering is noticed within 13 seconds even when nothing else asks.
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 3000,
  // etcd hangs up on clients that ping while nothing is open.
  'grpc.keepalive_permit_without_calls': 0,
  'grpc.initial_reconnect_backoff_ms': 200,
  'grpc.max_reconnect_backoff_ms': 1000,
};

interface Endpoint {
  readonly url: string;
  /** One for all services, so that a connection that comes back is back for all of them. */
  channel: Channel;
  host: Host;
}

/**
 * The way to one of several etcd endpoints: stays with one while it answers, goes on to the next when it does not, proves who it is with a token
 * where that is configured. It takes the place of etcd3's own pool, whose breaker refuses calls to a healthy server for five seconds and
 * which neither reads certificates again nor says which server answered.
 */
export class Connection implements ICallable<Host> {
  readonly callOptionsFactory = undefined;
  readonly #clock: Clock;
  readonly #auth: { readonly username: string; readonly password: string } | null;
  readonly #credentials: Credentials;
  readonly #endpoints: Endpoint[];
  #current = 0;
  #looked: Milliseconds;
  #token: Promise<string | null> | null = null;
  #closed = false;

  constructor(config: EtcdConfig, clock: Clock, log: Log) {
    this.#clock = clock;
    this.#looked = clock.now();
    this.#auth = config.username ? { username: config.username, password: config.password ?? '' } : null;
    this.#credentials = new Credentials(config, log);
    this.#endpoints = config.endpoints.map((url) => ({ url, ...this.#connect(url) }));
  }

  #connect(url: string): { channel: Channel; host: Host } {
    const target = url.replace(/^https?:\/\//, '').replace(/\/+$/, '');
    const channel = new Channel(target, this.#credentials.current, CHANNEL);
    return { channel, host: new Host(target, this.#credentials.current, { channelOverride: channel }) };
  }

  /** What is used now, for messages. */
  get endpoint(): string {
    return this.#endpoints[this.#current].url;
  }

  /**
   * One call, as etcd3's clients make it. A read is tried on each endpoint in turn; a write only until it was sent, since a write without an answer may
   * have happened.
   */
  exec<T>(service: Service, method: string, params: unknown, options: CallOptions = {}): Promise<T> {
    const repeatable = method === 'range' || method === 'status' || method === 'authenticate';
    return this.#anywhere(service, repeatable, (client, metadata) => {
      type Method = (params: unknown, metadata: Metadata, options: CallOptions, done: Done<T>) => void;
      const limits = { deadline: this.#deadline(ANSWER), ...options };
      return promised((done) => (client as unknown as Record<string, Method>)[method](params, metadata, limits, done));
    });
  }

  /** A Range of which request and answer are bytes: what is read of it is the caller's choice. */
  range(request: Buffer): Promise<Buffer> {
    const same = (bytes: Buffer): Buffer => bytes;
    return this.#anywhere('KV', true, (client, metadata) => {
      const limits = { deadline: this.#deadline(ANSWER) };
      return promised((done: Done<Buffer>) =>
        client.makeUnaryRequest('/etcdserverpb.KV/Range', same, same, request, metadata, limits, done),
      );
    });
  }

  async #anywhere<T>(service: Service, repeatable: boolean, call: Call<T>): Promise<T> {
    let failure: OperationalError | undefined;
    for (let tried = 0; tried < this.#endpoints.length; tried++) {
      const at = this.#current;
      let sent = false;
      try {
        const client = await this.#ready(service);
        const metadata = service === 'Auth' ? new Metadata() : await this.metadata();
        sent = true;
        return await this.#call(client, service, metadata, call);
      } catch (error) {
        failure = etcdError(error, this.#endpoints[at].url);
        if (!endpointFailed(failure)) throw failure;
        this.failover(at);
        if (sent && !repeatable) throw failure;
      }
    }
    throw failure;
  }

  async #call<T>(client: Client, service: Service, metadata: Metadata, call: Call<T>): Promise<T> {
    try {
      return await call(client, metadata);
    } catch (error) {
      if (service === 'Auth' || !this.#auth || !tokenRefused(error)) throw error;
      // A refused call did not happen, so even a write may be sent again with a new token.
      this.forgetToken();
      return call(client, await this.metadata());
    }
  }

  /** A client of the service on the endpoint in use, connected; rejects within two seconds when there is no connection. */
  async #ready(service: Service): Promise<Client> {
    this.#lookAtFiles();
    const { channel, host } = this.#endpoints[this.#current];
    if (!(await connected(channel, this.#deadline(CONNECT), this.#endpoints.length > 1)))
      throw unavailable(await this.#whyNot(host));
    return host.getServiceClient(service);
  }

  /** What keeps a channel from coming up. gRPC tells it only to a call that fails for it. */
  async #whyNot(host: Host): Promise<string> {
    const client = host.getServiceClient('Maintenance') as unknown as {
      status(params: object, metadata: Metadata, options: CallOptions, done: Done<unknown>): void;
    };
    const limits = { deadline: this.#deadline(REASON) };
    const call = promised<unknown>((done) => client.status({}, new Metadata(), limits, done));
    const words = await call.then(
      () => '',
      (error) => reasonOf(error.details ?? ''),
    );
    return words || 'no connection in time';
  }

  /** For streams: a connected client, and which endpoint it leads to. */
  async open(service: Service): Promise<{ client: Client; at: number; metadata: Metadata }> {
    const at = this.#current;
    try {
      const client = await this.#ready(service);
      return { client, at, metadata: await this.metadata() };
    } catch (error) {
      const failure = etcdError(error, this.#endpoints[at].url);
      if (endpointFailed(failure)) this.failover(at);
      throw failure;
    }
  }

  /** Goes on to the next endpoint, unless someone else did so already. */
  failover(from: number): void {
    if (this.#current === from) this.#current = (from + 1) % this.#endpoints.length;
  }

  /** Metadata of a call: the token, if there is one. */
  async metadata(): Promise<Metadata> {
    const metadata = new Metadata();
    if (!this.#auth) return metadata;
    this.#token ??= this.#authenticate();
    const token = await this.#token;
    if (token) metadata.set('token', token);
    return metadata;
  }

  /** The next call gets a new token. */
  forgetToken(): void {
    this.#token = null;
  }

  async #authenticate(): Promise<string | null> {
    try {
      const { username: name, password } = this.#auth ?? { username: '', password: '' };
      const { token } = await new AuthClient(this).authenticate({ name, password });
      return token;
    } catch (error) {
      this.forgetToken();
      // A user is configured before authentication is turned on: until then nobody needs a token.
      if (/authentication is not enabled/.test(String(error))) return null;
      throw error;
    }
  }

  #lookAtFiles(): void {
    if (this.#clock.now() - this.#looked < LOOK) return;
    this.#looked = this.#clock.now();
    if (!this.#credentials.refresh()) return;
    for (const endpoint of this.#endpoints) {
      endpoint.channel.close();
      Object.assign(endpoint, this.#connect(endpoint.url));
    }
  }

  #deadline(within: Milliseconds): Date {
    return new Date(this.#clock.date().getTime() + within);
  }

  /** Required by etcd3's clients for streams, which are opened by `open` here. */
  async withConnection<T>(
    service: Service,
    use: (args: { resource: Host; client: Client; metadata: Metadata }) => Promise<T> | T,
  ): Promise<T> {
    const { client, at, metadata } = await this.open(service);
    return use({ resource: this.#endpoints[at].host, client, metadata });
  }

  markFailed(host: Host): void {
    const at = this.#endpoints.findIndex((endpoint) => endpoint.host === host);
    if (at >= 0) this.failover(at);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const { channel } of this.#endpoints) channel.close();
  }
}

type Done<T> = (error: Error | null, answer?: T) => void;
/** One attempt at a call. */
type Call<T> = (client: Client, metadata: Metadata) => Promise<T>;

const promised = <T>(call: (done: Done<T>) => void): Promise<T> =>
  new Promise((resolve, reject) => {
    call((error, answer) => {
      if (error) reject(error);
      else resolve(answer as T);
    });
  });

/**
 * Whether the channel is up, at the latest at the deadline, and in a hurry as soon as an attempt has failed: then there is another endpoint to try, while
 * alone it is better to wait for the channel's next attempt.
 */
function connected(channel: Channel, deadline: Date, hurry: boolean): Promise<boolean> {
  return new Promise((resolve) => {
    const look = () => {
      const state = channel.getConnectivityState(true);
      if (state === connectivityState.READY) resolve(true);
      else if (state === connectivityState.SHUTDOWN || (hurry && state === connectivityState.TRANSIENT_FAILURE))
        resolve(false);
      else
        channel.watchConnectivityState(state, deadline, (late) => {
          if (late) resolve(false);
          else look();
        });
    };
    look();
  });
}

/** gRPC's words without its frame: `No connection established. Last error: … (2026-01-01T…). Resolution note: …`. */
const reasonOf = (details: string): string | undefined =>
  /Last error: (?:Error(?: \[\w+\])?: )?(.*?)(?: \(\d{4}-[^)]*\))?(?:\. Resolution note: .*)?$/s.exec(details)?.[1] ??
  /Name resolution failed.*/s.exec(details)?.[0];

const unavailable = (details: string): Error => Object.assign(new Error(details), { code: 14, details });
