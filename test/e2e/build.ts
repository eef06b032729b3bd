import { execFileSync } from 'node:child_process';
import { PROJECT } from '../../deploy/lab/index.ts';

/** The lab runs the built programs: whoever starts these tests alone gets the build of the sources as they are. */
export default function build(): void {
  execFileSync('npm', ['run', '--silent', 'build'], { cwd: PROJECT, stdio: 'inherit' });
}
