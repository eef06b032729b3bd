import { mkdtempSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { OperationalError, silentLog } from '#core';
import { type ControlServer, callControl, serveControl } from '../../../bgp/control.ts';

let path: string;
let server: ControlServer;
beforeEach(async () => {
  path = join(mkdtempSync(join(tmpdir(), 'tsnet-control-')), 'agent.sock');
  // What a crash leaves behind must not keep the next start from listening.
  writeFileSync(path, '');
  server = await serveControl(
    path,
    {
      echo: (params) => params,
      big: () => ({ value: 2n ** 60n, text: 'x'.repeat(300_000) }),
      no: () => {
        throw new OperationalError('NOT_FOUND', 'no such peer');
      },
    },
    silentLog,
  );
});
afterEach(() => server.close());

test('question and answer, also a long one', async () => {
  expect(await callControl(path, 'echo', { a: [1, 'ü\n'] })).toEqual({ a: [1, 'ü\n'] });
  expect(await callControl(path, 'big')).toMatchObject({ value: '1152921504606846976' });
});
test('an error keeps its code and message', async () => {
  await expect(callControl(path, 'no')).rejects.toMatchObject({ code: 'NOT_FOUND', message: 'no such peer' });
  await expect(callControl(path, 'toString')).rejects.toThrow("no method 'toString'; it has echo, big, no");
});
test('text that is not JSON is answered, not fatal', async () => {
  const reply = await new Promise((resolve) => {
    const socket = connect(path, () => socket.write('hello\n{"id":2,"method":"echo"}\n'));
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
      if (text.split('\n').length !== 3) return;
      socket.destroy();
      resolve(text);
    });
  });
  expect(reply).toContain('"error"');
  expect(reply).toContain('{"id":2,"result":{}}');
});
test('an endless request is cut off', async () => {
  await new Promise<void>((resolve) => {
    const socket = connect(path, () => socket.write('x'.repeat(3 << 20)));
    socket.on('close', () => resolve());
    socket.on('error', () => {});
  });
  expect(await callControl(path, 'echo')).toEqual({});
});
test('a second daemon on the same path is refused', async () => {
  await expect(serveControl(path, {}, silentLog)).rejects.toThrow('another daemon already answers');
});
test('nobody there', async () => {
  await expect(callControl(`${path}.nope`, 'echo')).rejects.toMatchObject({ code: 'UNAVAILABLE' });
});
