/** For esbuild: without zod's messages in sixty languages, of which the one in use is imported by itself. */
export const noLocales = {
  name: 'no-locales',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /\/locales\/index\.js$/ }, () => ({ path: 'locales', namespace: 'none' }));
    onLoad({ filter: /.*/, namespace: 'none' }, () => ({ contents: 'export {};' }));
  },
};
