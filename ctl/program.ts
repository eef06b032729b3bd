import { Command, CommanderError, Option } from 'commander';
import { addInspection } from './inspection.ts';
import type { Io } from './io.ts';
import type { Globals, Session } from './session.ts';

/** Runs a verb; the answer is the exit status. */
export type Verb<A extends unknown[]> = (session: Session, ...args: A) => Promise<number>;

const collect = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value];

/** Flags that several verbs share, each said once. */
const FLAGS = {
  file: () =>
    new Option('-f, --filename <file>', 'file, directory, or - for standard input; may be repeated').argParser(collect),
  recursive: () => new Option('-R, --recursive', 'directories with all that is under them'),
  namespace: () => new Option('-n, --namespace <namespace>', "namespace of namespaced kinds (default: 'default')"),
  output: (formats: string) => new Option('-o, --output <format>', formats),
  dryRun: () => new Option('--dry-run', 'print what would change; write nothing'),
  continueOnError: () => new Option('--continue-on-error', 'go on with the next document when one fails'),
  skipEmpty: () => new Option('--skip-empty', 'no resources in the files is no error'),
};

const EXAMPLES: Record<string, string> = {
  get: `
Examples:
  tsnetctl get nodes -o wide
  tsnetctl get endpoints -A
  tsnetctl get networkpolicy web -n prod -o yaml
  tsnetctl get node -l "rack == 'r1'" -o name
  tsnetctl get bgppeers --watch`,
  apply: `
Examples:
  tsnetctl apply -f policy.yaml
  tsnetctl apply -f ./cluster -R --dry-run
  cat pool.json | tsnetctl apply -f -`,
  delete: `
Examples:
  tsnetctl delete ippool pool-a
  tsnetctl delete networkpolicy web db -n prod
  tsnetctl delete -f policy.yaml --skip-not-exists`,
  patch: `
Examples:
  tsnetctl patch node n1 -p '{"spec":{"bgp":{"asNumber":64513}}}'
  tsnetctl patch ippool pool-a -t json -p '[{"op":"replace","path":"/spec/natOutgoing","value":true}]'`,
  label: `
Examples:
  tsnetctl label node n1 rack=r1
  tsnetctl label node n1 rack=r2 --overwrite
  tsnetctl label node n1 rack --remove`,
};

/** The command line as a value; every verb is loaded when it runs. */
export function createProgram(io: Io, finish: (status: number) => void): Command {
  const program = new Command('tsnetctl')
    .description("Reads and changes a cluster's resources, and asks agents for their state.")
    .option(
      '-c, --config <file>',
      'datastore settings as calicoctl.cfg (default: /etc/calico/calicoctl.cfg, else the environment)',
    )
    .option('--socket <path>', 'control socket of a local agent or tsnet-bgpd')
    .addOption(new Option('--context <name>').hideHelp())
    .addOption(new Option('--allow-version-mismatch').hideHelp())
    .addOption(new Option('--log-level <level>').hideHelp())
    .option('-V, --version', 'print the version')
    .showSuggestionAfterError(true)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      // One line: what is wrong, and what to do.
      outputError: () => {},
    });
  program.addHelpText('after', ENVIRONMENT);
  const run: Runner =
    (load) =>
    async (...args) => {
      const command = args.at(-1) as Command;
      const session: Session = { io, globals: command.optsWithGlobals<Globals>() };
      const verb = await load();
      finish(await verb(session, ...(args.slice(0, -1) as never)));
    };
  addReading(program, run);
  addExplain(program, run);
  addWriting(program, run);
  addEditing(program, run);
  addInspection(program, run);
  return program;
}

/** Makes an action of a verb that is loaded when it is called. */
export type Runner = <A extends unknown[]>(load: () => Promise<Verb<A>>) => (...args: unknown[]) => Promise<void>;

const ENVIRONMENT = `
The datastore is what the configuration file says; without one, what the environment says, where a CALICO_ prefix comes first:
  DATASTORE_TYPE     etcdv3 or directory
  ETCD_ENDPOINTS     comma-separated URLs; ETCD_CA_CERT_FILE, ETCD_CERT_FILE, ETCD_KEY_FILE, ETCD_USERNAME, ETCD_PASSWORD
  TSNET_DIRECTORY    resource files of the directory datastore (default: /etc/tsnet/resources)

Exit status: 0 done, 1 failed, 2 wrong usage.`;

function addReading(program: Command, run: Runner): void {
  program
    .command('get')
    .description('show resources')
    .argument('[kind]', 'singular, plural or short name, such as nodes, ippool, gnp')
    .argument('[names...]')
    .addOption(FLAGS.output('table, wide, yaml, json, name or custom-columns=A,B'))
    .addOption(FLAGS.namespace())
    .option('-A, --all-namespaces', 'of all namespaces')
    .addOption(new Option('-a').hideHelp())
    .option('-l, --selector <selector>', 'only those whose labels match, such as "app == \'web\'"')
    .option('-w, --watch', 'go on with every change')
    .option('--export', 'without what is only of this cluster')
    .addOption(FLAGS.file())
    .addOption(FLAGS.recursive())
    .addHelpText('after', EXAMPLES.get)
    .action(
      run(async () => {
        const { get } = await import('./verbs/get.ts');
        return (
          session,
          kind: string | undefined,
          names: string[],
          options: Parameters<typeof get>[3] & { a?: boolean },
        ) => get(session, kind, names, { ...options, allNamespaces: options.allNamespaces ?? options.a });
      }),
    );
  program
    .command('validate')
    .description('check files: schema and meaning, with file, line and field; writes nothing and asks no datastore')
    .addOption(FLAGS.file())
    .addOption(FLAGS.recursive())
    .addOption(FLAGS.namespace())
    .addOption(FLAGS.output('table, yaml or json'))
    .addHelpText('after', '\nExample:\n  tsnetctl validate -f ./cluster -R -o json')
    .action(run(async () => (await import('./verbs/validate.ts')).validateFiles));
  program
    .command('diff')
    .description(
      'show the objects that applying the files would change, and whose traffic would be allowed or denied that was not',
    )
    .addOption(FLAGS.file())
    .addOption(FLAGS.recursive())
    .addOption(FLAGS.namespace())
    .addOption(FLAGS.output('table, yaml or json'))
    .option('--delete', 'what deleting them would change')
    .option('--no-flows', 'objects only: traffic takes seconds to work out in a large cluster')
    .addHelpText('after', '\nExample:\n  tsnetctl diff -f policy.yaml\n  tsnetctl diff -f policy.yaml --no-flows')
    .action(run(async () => (await import('./verbs/diff.ts')).diff));
}

function addExplain(program: Command, run: Runner): void {
  program
    .command('explain')
    .description('whether policy lets a new connection pass, and which tier, policy and rule says so')
    .option('--from <end>', 'namespace/pod, a workload or host endpoint, a node, or an address')
    .option('--to <end>', 'the same')
    .option('--protocol <protocol>', 'tcp, udp, sctp, udplite, icmp, icmpv6 or a number', 'tcp')
    .option('--port <port>', 'the port that is connected to')
    .option('--source-port <port>', 'the port that it comes from (default: 49152, which a client might have)')
    .option('--icmp-type <type>', 'of icmp and icmpv6 (default: an echo request)')
    .option('--icmp-code <code>', 'of that type (default: 0)')
    .option('--ip-version <version>', '4 or 6, where both ends have both')
    .addOption(FLAGS.namespace())
    .addOption(FLAGS.output('table, wide (with every rule that did not match), yaml or json'))
    .addHelpText('after', EXPLAIN)
    .action(run(async () => (await import('./verbs/explain.ts')).explain));
}

const EXPLAIN = `
An end can be a workload (by endpoint, pod or workload name, container or interface, with its namespace before a slash or by -n), a host
endpoint, a node, or an address, which is whose it is, or outside the cluster. A kind before it says which is meant.
The answer is worked out from the datastore, which a large cluster takes seconds for; the kernel is not asked.
Staged policies never count; what they would do is told after the verdict.

Examples:
  tsnetctl explain --from prod/web-0 --to prod/db-0 --port 5432
  tsnetctl explain --from 192.0.2.7 --to node/n1 --port 22
  tsnetctl explain --from workloadendpoint/prod/n1-k8s-web--0-eth0 --to 10.65.3.70 --protocol udp --port 53 -o json
  tsnetctl explain --from web-0 --to hostendpoint/n2-eth0 -n prod --protocol icmp --icmp-type 8`;

const WRITING = {
  create: 'make resources; it is an error if one exists',
  apply: 'make resources, or change them to what the files say',
  replace: 'change resources; it is an error if one does not exist',
} as const;

function addWriting(program: Command, run: Runner): void {
  for (const [verb, description] of Object.entries(WRITING) as [keyof typeof WRITING, string][]) {
    const command = program
      .command(verb)
      .description(description)
      .addOption(FLAGS.file())
      .addOption(FLAGS.recursive())
      .addOption(FLAGS.namespace())
      .addOption(FLAGS.dryRun())
      .addOption(FLAGS.continueOnError())
      .addOption(FLAGS.skipEmpty())
      .addOption(FLAGS.output('table, yaml, json or name'))
      .addHelpText('after', EXAMPLES.apply.replaceAll(' apply ', ` ${verb} `));
    if (verb === 'create') command.option('--skip-exists', 'leave those that exist as they are');
    command.action(
      run(async () => {
        const { write } = await import('./verbs/write.ts');
        return (session, options: Parameters<typeof write>[2]) => write(session, verb, options);
      }),
    );
  }
  program
    .command('delete')
    .description('delete resources by name, or those that files name')
    .argument('[kind]')
    .argument('[names...]')
    .addOption(FLAGS.file())
    .addOption(FLAGS.recursive())
    .addOption(FLAGS.namespace())
    .addOption(FLAGS.dryRun())
    .addOption(FLAGS.continueOnError())
    .addOption(FLAGS.skipEmpty())
    .option('-s, --skip-not-exists', 'it is no error if one does not exist')
    .addOption(FLAGS.output('table, yaml, json or name'))
    .addHelpText('after', EXAMPLES.delete)
    .action(run(async () => (await import('./verbs/delete.ts')).remove));
}

function addEditing(program: Command, run: Runner): void {
  program
    .command('patch')
    .description('change fields of a resource')
    .argument('<kind>')
    .argument('<name>')
    .requiredOption('-p, --patch <patch>', 'JSON or YAML')
    .option('-t, --type <type>', 'strategic, merge (RFC 7396) or json (RFC 6902)', 'strategic')
    .addOption(FLAGS.namespace())
    .addOption(FLAGS.dryRun())
    .addOption(FLAGS.output('table, yaml, json or name'))
    .addHelpText('after', EXAMPLES.patch)
    .action(run(async () => (await import('./verbs/change.ts')).patch));
  program
    .command('label')
    .description('set or remove labels of a resource')
    .argument('<kind>')
    .argument('<name>')
    .argument('<labels...>', 'key=value; key- or key with --remove')
    .option('--overwrite', 'change labels that are there')
    .option('--remove', 'remove labels')
    .addOption(FLAGS.namespace())
    .addOption(FLAGS.dryRun())
    .addOption(FLAGS.output('table, yaml, json or name'))
    .addHelpText('after', EXAMPLES.label)
    .action(run(async () => (await import('./verbs/change.ts')).label));
}

export { CommanderError };
