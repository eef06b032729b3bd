import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { createLog, type Log, messageOf, OperationalError, parseCidr, prefixOf, realClock, VERSION } from '#core';
import { type ControlServer, serveControl } from '../control.ts';
import { readRouteQuery } from '../query.ts';
import { createSpeaker } from '../speaker.ts';
import type { BestChange, ConnectedNetwork, Speaker } from '../types.ts';
import { type Arguments, readArguments, USAGE, UsageError } from './arguments.ts';
import { type BgpdConfig, type Read, readConfig } from './config.ts';

/** Who programs learned routes; given by the program that may touch the kernel. */
export interface KernelRoutes {
  apply(changes: readonly BestChange[]): void;
  stop(): Promise<void>;
}
export type OpenKernel = (log: Log) => Promise<KernelRoutes>;

/** The whole program; `openKernel` is null where no kernel routes can be written. */
export async function runBgpd(args: readonly string[], openKernel: OpenKernel | null): Promise<void> {
  try {
    const options = readArguments(args);
    if (options === 'help') process.stdout.write(USAGE);
    else if (options === 'version') process.stdout.write(`${VERSION}\n`);
    else await run(options, openKernel);
  } catch (error) {
    process.stderr.write(`tsnet-bgpd: ${messageOf(error)}\n`);
    process.exit(error instanceof UsageError ? 2 : 1);
  }
}

async function run(options: Arguments, openKernel: OpenKernel | null): Promise<void> {
  const loaded = load(options.config);
  if ('errors' in loaded) throw new OperationalError('CONFIG', loaded.errors.join('\n'));
  await new Daemon(options, loaded.config, openKernel).start();
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
  readonly #openKernel: OpenKernel | null;
  readonly #speaker: Speaker;
  #config: BgpdConfig;
  #kernel: KernelRoutes | null = null;
  #control: ControlServer | null = null;

  constructor(options: Arguments, config: BgpdConfig, openKernel: OpenKernel | null) {
    this.#options = options;
    this.#config = config;
    this.#openKernel = openKernel;
    this.#log = createLog('tsnet-bgpd', options.logLevel);
    this.#speaker = createSpeaker(
      {
        ...(config.kernel && { onBestChanges: (changes) => this.#kernel?.apply(changes) }),
        onPeerState: ({ address, state, lastError }) =>
          this.#log.info({ peer: address, state, lastError }, 'BGP session'),
      },
      { clock: realClock, log: this.#log },
    );
  }
  async start(): Promise<void> {
    if (this.#config.kernel) {
      if (!this.#openKernel) throw new OperationalError('CONFIG', 'kernel: true needs a build with the kernel room');
      this.#kernel = await this.#openKernel(this.#log);
    }
    this.#apply(this.#config);
    await this.#speaker.start();
    if (this.#options.socket) this.#control = await serveControl(this.#options.socket, this.#handlers(), this.#log);
    process.on('SIGHUP', () => this.#reload());
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void this.#stop());
    this.#log.info({ config: this.#options.config, peers: this.#config.peers.length }, 'running');
  }

  #apply({ speaker, peers, networks }: BgpdConfig): void {
    this.#speaker.setConnected(connectedNetworks());
    this.#speaker.configure(speaker);
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
    };
  }
}

/** The machine's own addresses, as they are now. */
function connectedNetworks(): ConnectedNetwork[] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses]) =>
    (addresses ?? []).flatMap(({ cidr, internal }): ConnectedNetwork[] => {
      const parsed = cidr === null || internal ? null : parseCidr(cidr);
      if (!parsed?.ok) return [];
      const { addr, length } = parsed.value;
      return [{ prefix: prefixOf(addr, length), interface: name, local: addr }];
    }),
  );
}
