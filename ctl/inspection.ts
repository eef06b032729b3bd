import type { Command } from 'commander';
import type { Runner } from './program.ts';

/** The verbs that look at agents, IPAM and this program itself. */
export function addInspection(program: Command, run: Runner): void {
  program
    .command('version')
    .description('print the version of this program and of the cluster')
    .option('--client', 'only of this program; asks no datastore')
    .option('-o, --output <format>', 'table, yaml or json')
    .addHelpText('after', '\nExample:\n  tsnetctl version -o json')
    .action(run(async () => (await import('./verbs/version.ts')).version));
}
