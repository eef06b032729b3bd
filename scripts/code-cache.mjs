import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';

// Programs that are started again and again are kept as V8 has compiled them (docs/adr/0009): half of the time that they take to start is compiling.

/** A CommonJS text as the function that Node.js makes of a module. */
export const asFunction = (text) => `(function(exports,require,module,__filename,__dirname){${text}\n})`;

/**
 * JavaScript that runs a program. `source` is an expression for its text, `program` what the program is called in traces of the stack and, with .v8, the
 * file beside this one in which `kept` may be. V8 believes what it finds there, if only it comes from the same version and a source of the same length: a byte
 * that is wrong would end the program. So it is held against the sum of what the build has kept.
 */
export const launcher = ({ program, source, kept }) => `'use strict';
const { readFileSync } = require('node:fs');
let cachedData;
try {
  const kept = readFileSync(__dirname + '/${program}.v8');
  if (require('node:zlib').crc32(kept) === ${crc32(kept)}) cachedData = kept;
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
      writeFileSync(warm, launcher({ program, source: text, kept: Buffer.alloc(0) }) + keep);
      spawnSync(process.execPath, [warm, ...args], { env: { PATH: process.env.PATH, ...env }, input });
    } finally {
      rmSync(warm, { force: true });
    }
    return readFileSync(kept);
  } finally {
    rmSync(temporary, { recursive: true });
  }
}
