import { execFile, execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { type Lab, type Program, until } from './lab.ts';

/** What goes over the wire of a lab, kept in a file and read by tshark. */
export class Capture {
  readonly #file: string;
  readonly #program: Program;

  private constructor(file: string, program: Program) {
    this.#file = file;
    this.#program = program;
  }
  /** Starts to record BGP; returns when it does. */
  static async of(lab: Lab): Promise<Capture> {
    const file = join(lab.dir, 'wire.pcap');
    const command = ['dumpcap', '-q', '-P', '-i', 'ours', '-f', 'tcp port 179', '-B', '16', '-w', file];
    const program = lab.start('between', 'dumpcap', command);
    await until('dumpcap', () => Promise.resolve(program.logText().includes('File: ') ? null : program.logText()));
    return new Capture(file, program);
  }
  /** No more packets; what there is may be read. */
  async stop(): Promise<void> {
    this.#program.signal('SIGINT', true);
    await until('dumpcap to end', () => Promise.resolve(this.#program.runs ? 'it runs' : null));
  }
  /** The values of a field of all packets that the display filter lets through, in order. */
  fields(filter: string, field: string): string[] {
    return valuesIn(this.#tshark('-Y', filter, '-T', 'fields', '-e', field));
  }
  /** The same while it goes on; a packet that is half written is not there yet. */
  soFar(filter: string, field: string): Promise<string[]> {
    const args = ['-n', '-r', this.#file, '-Y', filter, '-T', 'fields', '-e', field];
    return new Promise((resolve) => {
      execFile('tshark', args, { encoding: 'utf8', maxBuffer: 1 << 28 }, (_, out) => resolve(valuesIn(out)));
    });
  }
  /** What the dissector finds wrong in BGP from these senders; '' is good. */
  complaints(from: string): string {
    // tshark 4.0 calls every length above 4096 invalid, RFC 8654 or not.
    const wrong =
      'bgp && !(bgp.length > 4096) && (_ws.malformed || _ws.expert.group == "Protocol" || _ws.expert.group == "Undecoded")';
    return this.#tshark('-Y', `${from} && ${wrong}`, '-V', '-O', 'bgp');
  }
  #tshark(...args: string[]): string {
    return execFileSync('tshark', ['-n', '-r', this.#file, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      maxBuffer: 1 << 28,
    });
  }
}

const valuesIn = (text: string): string[] => text.split(/[\n,]/).filter((value) => value !== '');
