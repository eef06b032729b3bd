import { runBgpd } from './program.ts';

await runBgpd(process.argv.slice(2), null);
