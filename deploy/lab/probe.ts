import { createSocket } from 'node:dgram';
import { rmSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { Flow } from './flow.ts';
import { PORT } from './plan.ts';
import type { Answers, Request } from './probe-client.ts';

/**
 * The program inside every workload: an HTTP server and a UDP echo for others to reach, and a control socket (a file, so it can be reached from outside the
 * namespace) by which the lab asks it to reach others. One long-lived process, so a probe costs no process start.
 *   node probe.js NAME CONTROL_SOCKET
 */

const [name, control] = process.argv.slice(2);
/** UDP datagrams that came in, by source address: the proof of what did or did not pass. */
const heard = new Map<string, number>();
const flows = new Map<string, Flow>();

const http = createHttpServer((req, res) => {
  res.end(`${name} greets ${req.socket.remoteAddress?.replace('::ffff:', '')}\n`);
});
http.listen({ port: PORT.http, host: '::' });

const echo = createSocket({ type: 'udp6' });
echo.on('message', (bytes, from) => {
  const source = from.address.replace('::ffff:', '');
  heard.set(source, (heard.get(source) ?? 0) + 1);
  echo.send(bytes, from.port, from.address, () => {}); // an answer that cannot leave is a lost packet, which the asker counts
});
echo.bind(PORT.echo, '::');

function tcp({ to, port, from, timeout }: Request<'tcp'>): Promise<Answers['tcp']> {
  return new Promise((resolve) => {
    const socket = connect({ host: to, port, localAddress: from });
    const end = (answer: Answers['tcp']) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(() => end({ ok: false, why: 'timeout' }), timeout);
    socket.on('connect', () => end({ ok: true, why: '' }));
    socket.on('error', (error: NodeJS.ErrnoException) => end({ ok: false, why: error.code ?? error.message }));
  });
}

/** Sends `count` datagrams from the given source and counts the answers. */
function udp({ to, port, from, count, timeout }: Request<'udp'>): Promise<Answers['udp']> {
  return new Promise((resolve) => {
    const socket = createSocket(to.includes(':') ? 'udp6' : 'udp4');
    let answered = 0;
    const end = (why: string) => {
      clearTimeout(timer);
      socket.close();
      resolve({ answered, why });
    };
    const timer = setTimeout(() => end('timeout'), timeout);
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
    socket.on('message', () => {
      answered++;
      if (answered === count) end('');
    });
    socket.bind({ address: from, port: 0 }, () => {
      for (let n = 0; n < count; n++) socket.send(`${n}`, port, to, () => {});
    });
  });
}

async function answer(request: Request): Promise<Answers[keyof Answers]> {
  switch (request.op) {
    case 'ping':
      return { name };
    case 'tcp':
      return tcp(request);
    case 'udp':
      return udp(request);
    case 'heard':
      return Object.fromEntries(heard);
    case 'flow-start':
      flows.set(request.id, new Flow(request.to, request.port, request.interval));
      return {};
    case 'flow-look':
      return flowOf(request.id).report();
    case 'flow-stop': {
      const flow = flowOf(request.id);
      flows.delete(request.id);
      return flow.stop();
    }
  }
}

function flowOf(id: string): Flow {
  const flow = flows.get(id);
  if (!flow) throw new Error(`no flow ${id}`);
  return flow;
}

rmSync(control, { force: true });
createServer((socket) => {
  socket.on('error', () => socket.destroy()); // the asker went away; its question dies with it
  createInterface(socket).on('line', async (line) => {
    const request: { seq: number } & Request = JSON.parse(line);
    const reply = await answer(request).then(
      (value) => ({ seq: request.seq, value }),
      (error: Error) => ({ seq: request.seq, error: error.message }),
    );
    socket.write(`${JSON.stringify(reply)}\n`);
  });
}).listen(control);
