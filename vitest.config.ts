import { defineConfig } from 'vitest/config';

/** Tests import rooms by their doors (#core, …) and run the TypeScript sources, not dist. */
const source = { ssr: { resolve: { conditions: ['tsnet-source'] } }, resolve: { conditions: ['tsnet-source'] } };

/** One project a kind of test: what it may touch decides where it runs. */
const project = (name: string, include: string[], extra: object = {}) => ({
  ...source,
  test: { name, include, testTimeout: 20_000, ...extra },
});

/** Root, kernel and real daemons: one file at a time, because two cores do not carry more. */
const real = { fileParallelism: false, testTimeout: 180_000, hookTimeout: 120_000 };

export default defineConfig({
  test: {
    projects: [
      // No root, no network, no clock: what `npm run check` runs.
      project('unit', [
        'test/unit/**/*.test.ts',
        'test/golden/**/*.test.ts',
        'test/sim/**/*.test.ts',
        'test/house.test.ts',
      ]),
      project('fuzz', ['test/fuzz/**/*.test.ts'], { testTimeout: 120_000 }),
      // Kernel and etcd on this machine, in namespaces of their own.
      project('kernel', ['test/kernel/**/*.test.ts'], real),
      // When other people's daemons close, dial again or log is not ours to order: a test is tried once more, and the report says which was.
      project('interop', ['test/interop/**/*.test.ts'], { ...real, retry: 1, globalSetup: 'test/e2e/build.ts' }),
      project('e2e', ['test/e2e/**/*.test.ts'], { ...real, globalSetup: 'test/e2e/build.ts' }),
    ],
  },
});
