import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

// Programs that are started again and again are kept as V8 has compiled them (docs/adr/0009): half of the time that they take to start is compiling.

/** A CommonJS text as the function that Node.js makes of a module. */
export const asFunction = (text) => `(function(exports,require,module,__filename,__dirname){${text}\n})`;

/**
 * The name of what is kept of a program. It has the hash of the program, because V8 tells what it has kept only by the length of the source; that it comes from
 * another version of V8 it sees by itself, and compiles.
 */
export const cacheName = (program, source) =>
  `${program}.${createHash('sha256').update(source).digest('hex').slice(0, 12)}.v8`;

/**
 * JavaScript that runs a program. `source` is an expression for its text, `cache` the name of a file beside this one, which may be missing, `program`
 * what the program is called in traces of the stack.
 */
export const launcher = ({ program, source, cache }) => `'use strict';
const { readFileSync } = require('node:fs');
let cachedData;
try {
  cachedData = readFileSync(__dirname + '/${cache}');
} catch {} // Without it the start is slower, and nothing else.
const script = new (require('node:vm').Script)(${source}, { filename: '${program}', cachedData });
script.runInThisContext()(exports, require, module, __filename, __dirname);
`;

/** What V8 has compiled of a program when it has run once with these arguments, this environment and input. `require` works as from `directory`. */
export function codeCache({ program, source, directory, args = [], env = {}, input = '' }) {
  const temporary = mkdtempSync(join(tmpdir(), 'tsnet-v8-'));
  try {
    const [warm, kept] = [join(directory, `warm-${process.pid}.cjs`), join(temporary, 'kept')];
    const keep = `process.on('exit', () => require('node:fs').writeFileSync(${JSON.stringify(kept)}, script.createCachedData()));\n`;
    try {
      writeFileSync(join(temporary, 'source'), source);
      const text = `readFileSync(${JSON.stringify(join(temporary, 'source'))}, 'utf8')`;
      writeFileSync(warm, launcher({ program, source: text, cache: 'none' }) + keep);
      spawnSync(process.execPath, [warm, ...args], { env: { PATH: process.env.PATH, ...env }, input });
    } finally {
      rmSync(warm, { force: true });
    }
    return readFileSync(kept);
  } finally {
    rmSync(temporary, { recursive: true });
  }
}
