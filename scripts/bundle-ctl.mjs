import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

// tsnetctl as a few files: Node.js spends more time on finding and compiling two hundred small modules than tsnetctl on its work
// (docs/adr/0009). What is loaded rarely, natively or by its own path stays outside.
const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const outdir = join(root, 'dist/cli');
rmSync(outdir, { recursive: true, force: true });
await build({
  entryPoints: [join(root, 'dist/ctl/main.js')],
  outdir,
  bundle: true,
  splitting: true,
  minify: true,
  sourcemap: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  external: ['etcd3', '@grpc/*', 'koffi', 'pino', 'prom-client', 'yaml', 'cli-table3'],
  banner: {
    js: "import{createRequire as __createRequire}from'node:module';const require=__createRequire(import.meta.url);",
  },
  logLevel: 'warning',
  plugins: [
    {
      // zod's messages in sixty languages, of which the one in use is imported by itself.
      name: 'no-locales',
      setup({ onResolve, onLoad }) {
        onResolve({ filter: /\/locales\/index\.js$/ }, () => ({ path: 'locales', namespace: 'none' }));
        onLoad({ filter: /.*/, namespace: 'none' }, () => ({ contents: 'export {};' }));
      },
    },
  ],
});
