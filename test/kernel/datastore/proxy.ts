import { connect, createServer, type Server, type Socket } from 'node:net';

/** A TCP proxy that can cut, hold and refuse connections, for what networks do. */
export class CuttingProxy {
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  /** Bytes from the server after which a connection is destroyed; then the limit is gone. */
  cutAfter: number | null = null;
  refuse = false;
  cuts = 0;

  constructor(targetPort: number) {
    this.#server = createServer((client) => {
      if (this.refuse) {
        client.destroy();
        return;
      }
      const server = connect(targetPort, '127.0.0.1');
      const pair = [client, server] as const;
      this.#pairs.add(pair);
      let passed = 0;
      const end = () => {
        this.#pairs.delete(pair);
        client.destroy();
        server.destroy();
      };
      server.on('data', (chunk: Buffer) => {
        passed += chunk.length;
        if (this.cutAfter !== null && passed > this.cutAfter) {
          this.cutAfter = null;
          this.cuts++;
          end();
        } else client.write(chunk);
      });
      client.on('data', (chunk) => server.write(chunk));
      for (const socket of pair) socket.on('error', end).on('close', end);
    });
  }

  listen(port: number): Promise<void> {
    return new Promise((resolve) => this.#server.listen(port, '127.0.0.1', resolve));
  }

  /** Cuts all connections that are open. */
  cut(): void {
    for (const [client, server] of this.#pairs) {
      client.destroy();
      server.destroy();
    }
  }

  close(): Promise<void> {
    this.cut();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}
