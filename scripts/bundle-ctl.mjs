import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { asFunction, codeCache, launcher } from './code-cache.mjs';
import { noLocales } from './no-locales.mjs';

// tsnetctl as one file, with what V8 makes of it beside: Node.js spends more time on finding and compiling two hundred small modules than tsnetctl on
// its work (docs/adr/0009). What is loaded rarely, natively or by its own path stays outside.
const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const outdir = join(root, 'dist/cli');
const made = await build({
  entryPoints: [join(root, 'dist/ctl/main.js')],
  bundle: true,
  write: false,
  minify: true,
  // V8 keeps scripts, not modules. Imports at run time become calls of require; a module is evaluated when it is needed.
  format: 'cjs',
  supported: { 'dynamic-import': false },
  platform: 'node',
  target: 'node20',
  define: { 'import.meta.url': '__filename' },
  external: ['etcd3', '@grpc/*', 'koffi', 'pino', 'prom-client', 'yaml', 'cli-table3'],
  logLevel: 'warning',
  plugins: [noLocales],
});
const source = asFunction(made.outputFiles[0].text);
const program = 'tsnetctl.js';
rmSync(outdir, { recursive: true, force: true });
mkdirSync(outdir, { recursive: true });
writeFileSync(join(outdir, program), source);

const directory = mkdtempSync(join(tmpdir(), 'tsnetctl-'));
writeFileSync(join(directory, 'n.yaml'), 'apiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {name: n1}\n');
const env = { DATASTORE_TYPE: 'directory', TSNET_DIRECTORY: directory };
const kept = codeCache({ program, source, directory: outdir, args: ['get', 'nodes'], env });
writeFileSync(join(outdir, `${program}.v8`), kept);
const text = `readFileSync(__dirname + '/${program}', 'utf8')`;
writeFileSync(join(outdir, 'main.cjs'), launcher({ program, source: text, kept }));
rmSync(directory, { recursive: true });
