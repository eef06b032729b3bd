import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The programs that the lab runs are the built ones, whether the lab itself runs from the build or from the sources. */

const here = dirname(fileURLToPath(import.meta.url));
/** deploy/lab when run from the sources, dist/deploy/lab when built. */
export const PROJECT = existsSync(join(here, '../../package.json')) ? join(here, '../..') : join(here, '../../..');

export const PROBE = join(PROJECT, 'dist/deploy/lab/probe.js');
export const AGENT = join(PROJECT, 'bin/tsnet-agent');
export const TSNETCTL = join(PROJECT, 'bin/tsnetctl');
