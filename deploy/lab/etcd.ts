import { request } from 'node:http';
import { Daemon } from './daemon.ts';
import type { Entry } from './objects.ts';
import type { Host } from './plan.ts';
import type { LabState } from './state.ts';
import { LabError } from './wait.ts';

/**
 * A real etcd on the fabric. The lab itself talks to it by a unix socket and etcd's own JSON gateway: from outside the namespaces, with any
 * bytes as key and value, and without the client that the lab is there to examine.
 */
export class Etcd {
  readonly #state: LabState;
  readonly host: Host;
  #daemon: Daemon | null;

  constructor(state: LabState, host: Host) {
    this.#state = state;
    this.host = host;
    const record = state.daemons().find(({ name }) => name === 'etcd');
    this.#daemon = record ? new Daemon(state, record) : null;
  }
  get endpoint(): string {
    return `http://${this.host.addresses[0]}:2379`;
  }
  get daemon(): Daemon {
    if (!this.#daemon) throw new LabError('etcd is not running');
    return this.#daemon;
  }

  /** Starts it (again, on the data it had) and waits until it answers. Gives its version. */
  async start(): Promise<string> {
    const peer = 'http://127.0.0.1:2380';
    this.#daemon = await Daemon.start(this.#state, {
      name: 'etcd',
      netns: this.host.netns,
      cwd: this.#state.path(), // its unix socket is a relative name
      command: ['etcd', '--name', 'lab', '--data-dir', this.#state.path('etcd-data')].concat(
        ['--listen-client-urls', `http://[::]:2379,unix://${SOCKET}`],
        ['--advertise-client-urls', this.endpoint, '--listen-peer-urls', peer],
        ['--initial-advertise-peer-urls', peer, '--initial-cluster', `lab=${peer}`],
      ),
    });
    await this.#daemon.waitFor('etcd to answer', async () => {
      const { health } = await this.#call('GET', '/health');
      return health === 'true' || `health is ${health}`;
    });
    return String((await this.#call('GET', '/version')).etcdserver);
  }
  async stop(): Promise<void> {
    await this.daemon.stop();
    this.#daemon = null;
  }
  freeze(): void {
    this.daemon.freeze();
  }
  thaw(): void {
    this.daemon.thaw();
  }

  /** Makes it run whatever was done to it. */
  async recover(): Promise<void> {
    if (this.#daemon?.alive) this.thaw();
    else await this.start();
  }

  /** Writes all at one revision. */
  async put(entries: readonly Entry[]): Promise<void> {
    // etcd takes at most 128 operations in a transaction.
    for (let at = 0; at < entries.length; at += 128) {
      const success = entries.slice(at, at + 128).map(({ key, value }) => ({
        request_put: { key: base64(key), value: base64(value) },
      }));
      await this.#call('POST', '/v3/kv/txn', { success });
    }
  }
  async get(key: string): Promise<string | null> {
    const { kvs } = await this.#call('POST', '/v3/kv/range', { key: base64(key) });
    return Array.isArray(kvs) ? Buffer.from(String(kvs[0].value ?? ''), 'base64').toString() : null;
  }
  /** Keys and values under the prefix. */
  async list(prefix: string): Promise<Entry[]> {
    const end = Buffer.from(prefix);
    end[end.length - 1]++;
    const { kvs } = await this.#call('POST', '/v3/kv/range', {
      key: base64(prefix),
      range_end: end.toString('base64'),
    });
    const text = (value: unknown) => Buffer.from(String(value ?? ''), 'base64').toString();
    return Array.isArray(kvs) ? kvs.map((kv) => ({ key: text(kv.key), value: text(kv.value) })) : [];
  }
  async delete(key: string): Promise<void> {
    await this.#call('POST', '/v3/kv/deleterange', { key: base64(key) });
  }
  /** Forgets the history up to now: a watcher that was away has to start over. */
  async compact(): Promise<void> {
    const { header } = await this.#call('POST', '/v3/kv/range', { key: base64('/') });
    await this.#call('POST', '/v3/kv/compaction', {
      revision: (header as { revision: string }).revision,
      physical: true,
    });
  }

  #call(method: string, path: string, body?: object): Promise<Record<string, unknown>> {
    return new Promise((resolve, reject) => {
      const req = request({ socketPath: this.#state.path(SOCKET), path, method, timeout: 5_000 }, (res) => {
        let text = '';
        res.setEncoding('utf8');
        res.on('data', (chunk) => {
          text += chunk;
        });
        res.on('end', () => {
          if (res.statusCode === 200) resolve(JSON.parse(text));
          else reject(new LabError(`etcd ${path}: ${res.statusCode} ${text}`));
        });
      });
      req.on('timeout', () => req.destroy(new LabError(`etcd ${path}: no answer in 5 s`)));
      req.on('error', reject);
      req.end(body && JSON.stringify(body));
    });
  }
}

/** etcd 3.4 wants host:port here, and makes a socket file of that name. */
const SOCKET = 'etcd.sock:0';
const base64 = (text: string): string => Buffer.from(text).toString('base64');
