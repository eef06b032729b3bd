import { type Command, Option } from 'commander';
import type { Runner } from './program.ts';

const OUTPUT = () => new Option('-o, --output <format>', 'table, yaml or json');
const NODE = () => new Option('--node <name>', 'as that agent last published it, instead of asking the one here');
const ALL = () => new Option('--all', 'of all nodes, as their agents last published it');

/** The verbs that look at agents, IPAM and this program itself. */
export function addInspection(program: Command, run: Runner): void {
  addNode(program, run);
  addBgp(program, run);
  addIpam(program, run);
  program
    .command('migrate')
    .description('come from Calico')
    .command('check')
    .description('what a tsnet node honours, ignores or refuses of a running Calico cluster; writes nothing')
    .option('--all-objects', 'also those that are honoured in full')
    .addOption(OUTPUT())
    .addHelpText('after', '\nExample:\n  tsnetctl -c /etc/calico/calicoctl.cfg migrate check')
    .action(run(async () => (await import('./verbs/migrate.ts')).migrateCheck));
  program
    .command('version')
    .description('print the version of this program and of the cluster')
    .option('--client', 'only of this program; asks no datastore')
    .addOption(OUTPUT())
    .addHelpText('after', '\nExample:\n  tsnetctl version -o json')
    .action(run(async () => (await import('./verbs/version.ts')).version));
  program
    .command('completion')
    .description('print a script that completes commands, kinds and the names of resources')
    .argument('<shell>', 'bash, zsh or fish')
    .addHelpText('after', COMPLETION_EXAMPLES)
    .action(run(async () => (await import('./verbs/completion.ts')).completion));
  program
    .command('__complete', { hidden: true })
    .argument('[words...]')
    .action(
      run(async () => {
        const { complete } = await import('./verbs/completion.ts');
        return (session, words: string[]) => complete(session, program, words);
      }),
    );
}

const COMPLETION_EXAMPLES = `
Examples:
  source <(tsnetctl completion bash)
  tsnetctl completion bash > /etc/bash_completion.d/tsnetctl
  tsnetctl completion fish | source`;

function addNode(program: Command, run: Runner): void {
  const node = program.command('node').description('look at nodes');
  node
    .command('status')
    .description('how an agent is: ready or why not, sessions, endpoints, refused rules')
    .addOption(NODE())
    .addOption(ALL())
    .addOption(OUTPUT())
    .addHelpText(
      'after',
      '\nExamples:\n  tsnetctl node status\n  tsnetctl node status --all\n  tsnetctl node status --node n2 -o json',
    )
    .action(run(async () => (await import('./verbs/node.ts')).status));
  node
    .command('checksystem')
    .description('whether this machine has what an agent needs: kernel, modules, programs, privileges')
    .option('-f, --kernel-config <file>', 'a kernel configuration to look in as well')
    .addOption(OUTPUT())
    .addHelpText('after', '\nExample:\n  tsnetctl node checksystem')
    .action(run(async () => (await import('./verbs/checksystem.ts')).checksystem));
}

function addBgp(program: Command, run: Runner): void {
  const bgp = program.command('bgp').description('look at BGP sessions and routes');
  bgp
    .command('peers')
    .description('every session, with the reason when it is not up')
    .addOption(NODE())
    .addOption(ALL())
    .addOption(new Option('-o, --output <format>', 'table, wide, yaml or json'))
    .addHelpText(
      'after',
      '\nExamples:\n  tsnetctl bgp peers\n  tsnetctl bgp peers --all -o json\n  tsnetctl --socket /run/bgpd.sock bgp peers',
    )
    .action(run(async () => (await import('./verbs/bgp.ts')).peers));
  bgp
    .command('routes')
    .description('the routes of the table, or those of one peer')
    .argument('[prefix]', 'only this prefix')
    .option('--longer', 'with all prefixes inside it')
    .option('--received <peer>', 'what this peer sent, rejected routes included')
    .option('--advertised <peer>', 'what is sent to this peer')
    .option('--why', 'why a route is not best, not accepted or not advertised')
    .addOption(NODE())
    .addOption(ALL())
    .addOption(OUTPUT())
    .addHelpText(
      'after',
      '\nExamples:\n  tsnetctl bgp routes\n  tsnetctl bgp routes 10.65.0.0/26 --why\n  tsnetctl bgp routes --received 10.0.0.1 -o json',
    )
    .action(run(async () => (await import('./verbs/bgp.ts')).routes));
  bgp
    .command('refresh')
    .description('ask a peer for all its routes again (RFC 2918); the session stays up')
    .argument('<peer>', 'its address, as bgp peers has it')
    .addHelpText('after', '\nExample:\n  tsnetctl bgp refresh 10.0.0.1')
    .action(run(async () => (await import('./verbs/bgp.ts')).refresh));
  bgp
    .command('dump')
    .description('the table as an MRT file (RFC 6396), written by the daemon')
    .argument('<file>', 'where to')
    .addHelpText('after', '\nExample:\n  tsnetctl bgp dump /tmp/table.mrt && bgpdump /tmp/table.mrt')
    .action(run(async () => (await import('./verbs/bgp.ts')).dump));
}

const collect = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value];

function addIpam(program: Command, run: Runner): void {
  const ipam = program.command('ipam').description('look at and mend the assignment of addresses');
  ipam
    .command('show')
    .description('how full pools are, or who holds an address')
    .option('--ip <address>', 'only this address')
    .option('--show-blocks', 'blocks, too')
    .option('--show-borrowed', 'addresses that a node has from the block of another')
    .option('--show-configuration', 'how addresses are assigned')
    .addOption(OUTPUT())
    .addHelpText('after', '\nExamples:\n  tsnetctl ipam show --show-blocks\n  tsnetctl ipam show --ip=10.65.3.70')
    .action(run(async () => (await import('./verbs/ipam.ts')).show));
  ipam
    .command('check')
    .description('what is wrong with blocks, handles and addresses, and what mends it')
    .addOption(new Option('-o, --output <format>', 'table, yaml or json, or the name of a .json file for the report'))
    .addOption(new Option('--show-all-ips').hideHelp())
    .addOption(new Option('--show-problem-ips').hideHelp())
    .addHelpText('after', '\nExample:\n  tsnetctl ipam check -o report.json')
    .action(run(async () => (await import('./verbs/ipam.ts')).check));
  ipam
    .command('release')
    .description('free addresses that nobody uses')
    .addOption(new Option('--ip <address>', 'may be repeated').argParser(collect))
    .addOption(
      new Option('--from-report <file>', "the leaks that 'ipam check' found; may be repeated").argParser(collect),
    )
    .option('--force', 'also addresses that a workload uses')
    .addOption(OUTPUT())
    .addHelpText(
      'after',
      '\nExamples:\n  tsnetctl ipam release --ip=10.65.3.70\n  tsnetctl ipam release --from-report=report.json',
    )
    .action(run(async () => (await import('./verbs/ipam.ts')).release));
  ipam
    .command('configure')
    .description('change how addresses are assigned')
    .option('--strictaffinity <bool>', 'nodes take addresses from their own blocks only')
    .option('--auto-allocate-blocks <bool>', 'nodes may take new blocks')
    .option('--max-blocks-per-host <number>', 'at most so many blocks a node; 0: no limit')
    .option('--ip-cooldown-seconds <number>', 'how long a released address stays unused')
    .addOption(OUTPUT())
    .addHelpText('after', '\nExample:\n  tsnetctl ipam configure --strictaffinity=true')
    .action(run(async () => (await import('./verbs/ipam.ts')).configure));
  ipam
    .command('split')
    .description('put several pools of equal size in the place of one')
    .argument('<number>', '2, 4, 8, …')
    .option('--cidr <cidr>', 'the pool with this CIDR')
    .option('--name <name>', 'the pool with this name')
    .addHelpText('after', '\nExample:\n  tsnetctl ipam split 4 --name=pool-a')
    .action(run(async () => (await import('./verbs/ipam-split.ts')).split));
}
