import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

/** This file runs before the tests' own resolution of rooms is set up, so it imports none. */
const PROJECT = join(import.meta.dirname, '../..');

/** The lab runs the built programs: whoever starts these tests alone gets the build of the sources as they are. */
export default function build(): void {
  execFileSync('npm', ['run', '--silent', 'build'], { cwd: PROJECT, stdio: 'inherit' });
}
