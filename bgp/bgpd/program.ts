import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import {
  createLog,
  createMetrics,
  type Log,
  type Metrics,
  messageOf,
  OperationalError,
  type Prefix,
  parseCidr,
  prefixOf,
  realClock,
  VERSION,
} from '#core';
import { type ControlServer, serveControl } from '../control.ts';
import { dumpToFile } from '../dump-file.ts';
import { declarePeerMetrics } from '../peer-metrics.ts';
import { readPeer, readRouteQuery } from '../query.ts';
import { createSpeaker } from '../speaker.ts';
import type { BestBatch, ConnectedNetwork, ResolvingRoute, Speaker } from '../types.ts';
import { type Arguments, readArguments, USAGE, UsageError } from './arguments.ts';
import { type BgpdConfig, type Read, readConfig } from './config.ts';

/** Who programs learned routes. */
export interface KernelRoutes {
  /** Routes of an earlier run are in place: the peers are told so (RFC 4724). */
  readonly isRestart: boolean;
  apply(batch: BestBatch): void;
  /** What an earlier run left, and nobody confirmed, may go. */
  restartComplete(): void;
  stop(): Promise<void>;
}

/** Calls back while the program runs. */
export interface RouteEvents {
  onChange(changes: ReadonlyMap<Prefix, ResolvingRoute | null>): void;
  /** Links or addresses changed. */
  onLinks(): void;
}

/** What the program needs of the machine beside sockets. */
export interface BgpdHost {
  /** Tells the routes of the machine that are not the program's own, now and as they change. @throws OperationalError KERNEL */
  watchRoutes(log: Log, events: RouteEvents): Promise<void>;
  openKernel(log: Log, metrics: Metrics): Promise<KernelRoutes>;
  /** @throws OperationalError CONFIG */
  serveMetrics(listen: string, metrics: Metrics): Promise<void>;
}

/** The whole program. */
export async function runBgpd(args: readonly string[], host: BgpdHost): Promise<void> {
  try {
    const options = readArguments(args);
    if (options === 'help') process.stdout.write(USAGE);
    else if (options === 'version') process.stdout.write(`${VERSION}\n`);
    else await run(options, host);
  } catch (error) {
    process.stderr.write(`tsnet-bgpd: ${messageOf(error)}\n`);
    process.exit(error instanceof UsageError ? 2 : 1);
  }
}

async function run(options: Arguments, host: BgpdHost): Promise<void> {
  const loaded = load(options.config);
  if ('errors' in loaded) throw new OperationalError('CONFIG', loaded.errors.join('\n'));
  await new Daemon(options, loaded.config, host).start();
}

function load(file: string): Read {
  try {
    return readConfig(file, readFileSync(file, 'utf8'));
  } catch (error) {
    return { errors: [`${file}: ${messageOf(error)}`] };
  }
}

class Daemon {
  readonly #options: Arguments;
  readonly #log: Log;
  readonly #host: BgpdHost;
  readonly #metrics = createMetrics();
  readonly #speaker: Speaker;
  #config: BgpdConfig;
  #kernel: KernelRoutes | null = null;
  #control: ControlServer | null = null;

  constructor(options: Arguments, config: BgpdConfig, host: BgpdHost) {
    this.#options = options;
    this.#config = config;
    this.#host = host;
    this.#log = createLog('tsnet-bgpd', options.logLevel);
    this.#speaker = createSpeaker(
      {
        ...(config.kernel && { onBestBatch: (batch) => this.#kernel?.apply(batch) }),
        onRestartComplete: () => this.#kernel?.restartComplete(),
        onPeerState: ({ address, state, lastError }) =>
          this.#log.info({ peer: address, state, lastError }, 'BGP session'),
      },
      { clock: realClock, log: this.#log, metrics: this.#metrics },
    );
  }
  async start(): Promise<void> {
    const { metricsListen, socket } = this.#options;
    if (this.#config.kernel) this.#kernel = await this.#host.openKernel(this.#log, this.#metrics);
    if (metricsListen) {
      declarePeerMetrics(this.#metrics, () => this.#speaker.peers());
      await this.#host.serveMetrics(metricsListen, this.#metrics);
    }
    this.#apply(this.#config);
    await this.#host.watchRoutes(this.#log, {
      onChange: (changes) => this.#speaker.noteRoutes(changes),
      onLinks: () => this.#speaker.setConnected(connectedNetworks()),
    });
    await this.#speaker.start();
    if (socket) this.#control = await serveControl(socket, this.#handlers(), this.#log);
    process.on('SIGHUP', () => this.#reload());
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void this.#stop());
    this.#log.info({ config: this.#options.config, peers: this.#config.peers.length }, 'running');
  }

  #apply({ speaker, peers, networks }: BgpdConfig): void {
    this.#speaker.setConnected(connectedNetworks());
    this.#speaker.configure({ ...speaker, restarting: this.#kernel?.isRestart ?? false });
    this.#speaker.setPeers(peers);
    this.#speaker.setLocalRoutes(networks);
  }
  #reload(): void {
    const loaded = load(this.#options.config);
    if ('errors' in loaded) {
      this.#log.error({ errors: loaded.errors }, 'the configuration is refused; the running one stays');
      return;
    }
    if (loaded.config.kernel !== this.#config.kernel) this.#log.warn('the key kernel takes effect with the next start');
    this.#config = loaded.config;
    this.#apply(loaded.config);
    this.#log.info('configuration read again');
  }
  async #stop(): Promise<void> {
    this.#log.info('stopping');
    await this.#control?.close();
    await this.#speaker.stop('shutdown', 'tsnet-bgpd stops');
    await this.#kernel?.stop();
    process.exit(0);
  }
  #handlers() {
    return {
      'bgp.peers': () => this.#speaker.peers(),
      'bgp.routes': (params: Readonly<Record<string, unknown>>) => this.#speaker.routes(readRouteQuery(params)),
      'bgp.dump': (params: Readonly<Record<string, unknown>>) => dumpToFile(params, () => this.#speaker.dumpMrt()),
      'bgp.refresh': (params: Readonly<Record<string, unknown>>) => this.#speaker.refresh(readPeer(params)),
    };
  }
}

/** The machine's own addresses, as they are now, without those that only the loopback interface itself has. */
function connectedNetworks(): ConnectedNetwork[] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses]) =>
    (addresses ?? []).flatMap(({ cidr }): ConnectedNetwork[] => {
      const parsed = cidr === null ? null : parseCidr(cidr);
      if (!parsed?.ok || /^(127\.|::1$)/.test(parsed.value.addr)) return [];
      const { addr, length } = parsed.value;
      return [{ prefix: prefixOf(addr, length), interface: name, local: addr }];
    }),
  );
}
