import type { Missed, PolicyResources, StagedPolicy, Step, Unknown, Way } from '#policy';
import { type Io, painter, printable } from '../io.ts';
import type { Answer, Side } from './answer.ts';
import { ruleText } from './rule-text.ts';

/** Rules that did not match, a step, in the narrow form. */
const MOST = 10;

/** The answer for people: the verdict first, then who said so. `wide`: with every rule that did not match, at every step. */
export function showAnswer(io: Io, answer: Answer, resources: PolicyResources, wide: boolean): void {
  new Page(io, resources, wide).answer(answer);
}

const COLOUR = { Allow: 'green', Deny: 'red', Pass: 'yellow', Log: 'yellow' } as const;

/** An action, to be painted. */
interface Word {
  readonly action: keyof typeof COLOUR;
  readonly width: number;
}

class Page {
  readonly #io: Io;
  readonly #resources: PolicyResources;
  readonly #wide: boolean;
  readonly #paint: ReturnType<typeof painter>;

  constructor(io: Io, resources: PolicyResources, wide: boolean) {
    this.#io = io;
    this.#resources = resources;
    this.#wide = wide;
    this.#paint = painter(io.stdout, io.env);
  }

  answer(answer: Answer): void {
    const { verdict, steps, unknown, source, destination, staged, notes } = answer;
    const unless =
      verdict === 'Allow' && unknown.length > 0 ? ', unless it takes an interface that denies it (below)' : '';
    this.#line(word(verdict), `${unless}: ${packetText(answer)}`);
    this.#line(`  from ${sideText(source)}`);
    this.#line(`  to   ${sideText(destination)}`);
    this.#steps(steps, verdict);
    for (const one of unknown) this.#unknown(one);
    if (staged.policies.length > 0) this.#staged(answer);
    if (notes.length > 0) this.#line('');
    for (const note of notes) this.#line(`note: ${note}`);
  }

  #steps(steps: readonly Step[], verdict: string): void {
    const last = steps.at(-1);
    let place = '';
    for (const step of steps) {
      const at = `${step.direction} ${step.direction === 'egress' ? 'from' : 'to'} ${step.where}${step.list === 'normal' ? '' : `, ${step.list} policy`}`;
      if (at !== place) this.#heading(at);
      place = at;
      this.#step(step);
      // What might have allowed it is at the place that denies it.
      const matters = verdict === 'Deny' && step.where === last?.where && step.direction === last.direction;
      if (this.#wide || matters) this.#missed(step);
    }
    if (steps.length === 0) this.#heading('no policy is asked');
  }

  #step({ tier, policy, rule, action, reason, direction }: Step): void {
    const text = policy === null || rule === null ? null : this.#rule(policy, direction, rule);
    const where = tier === null ? '' : `tier ${tier}: `;
    const said =
      policy === null || rule === null ? reason : `${policy} ${direction}[${rule}]${text ? `: ${text}` : ''}`;
    this.#line('  ', word(action, 5), ` ${where}${said}`);
  }

  #missed({ missed, direction }: Step): void {
    const shown = this.#wide ? missed : missed.slice(0, MOST);
    for (const one of shown) this.#line(`        ${this.#missedText(one, direction)}`);
    if (shown.length < missed.length) this.#line(`        and ${missed.length - shown.length} more; -o wide has all`);
  }

  #missedText({ policy, rule, reason }: Missed, direction: Step['direction']): string {
    if (rule === null) return `${policy}: ${reason}`;
    return `no match: ${policy} ${direction}[${rule}]: ${this.#rule(policy, direction, rule) ?? ''}: ${reason}`;
  }

  /** What a rule says; null where it cannot be shown as a rule of this model. */
  #rule(policy: string, direction: Step['direction'], index: number): string | null {
    const cut = policy.indexOf('/');
    const kind = policy.slice(0, cut) as keyof PolicyResources;
    if (kind === 'StagedKubernetesNetworkPolicy') return null;
    const found = this.#resources[kind]?.get(policy.slice(cut + 1)) as
      | { spec: Partial<Record<Step['direction'], readonly Parameters<typeof ruleText>[0][]>> }
      | undefined;
    const rule = found?.spec[direction]?.[index];
    return rule ? ruleText(rule) : null;
  }

  #unknown({ node, direction, ways }: Unknown): void {
    const verb = direction === 'egress' ? 'leaves' : 'enters';
    this.#heading(`not known: by which interface of node ${node} it ${verb}`);
    for (const way of ways) this.#line('  ', word(way.verdict, 5), ` ${wayText(way)}`);
  }

  #staged({ verdict, steps, staged }: Answer): void {
    const same = staged.verdict === verdict ? ', as it is' : '';
    this.#line('');
    this.#line('staged policies, which are not enforced; if they were: ', word(staged.verdict), same);
    const decides = staged.steps.at(-1);
    if (decides && !isSame(decides, steps.at(-1))) this.#step(decides);
    for (const one of staged.policies) this.#stagedPolicy(one);
    for (const one of staged.unknown) if (!same) this.#unknown(one);
  }

  #stagedPolicy({ policy, stagedAction, instead, problem, at }: StagedPolicy): void {
    const over = instead === null ? '' : stagedAction === 'Delete' ? ` ${instead}` : `, in the place of ${instead}`;
    const idle = stagedAction === 'Learn' || stagedAction === 'Ignore' ? ', which changes nothing' : '';
    this.#line(`  ${policy} (${stagedAction}${over}${idle})`);
    if (problem !== null) this.#line(`        cannot be read, and is left out: ${problem}`);
    for (const { where, direction, rule, action, reason } of at) {
      const text = rule === null ? null : this.#rule(policy, direction, rule);
      const said = rule === null ? reason : `${direction}[${rule}]${text ? `: ${text}` : ''}`;
      this.#line(
        `        ${direction} ${direction === 'egress' ? 'from' : 'to'} ${where}: ${action ? `${action}: ` : ''}${said}`,
      );
    }
  }

  #heading(text: string): void {
    this.#line('');
    this.#line(text);
  }

  /** A line of its own; what is not an action is made harmless, since it may come from the datastore. */
  #line(...parts: readonly (string | Word)[]): void {
    const painted = parts.map((part) =>
      typeof part === 'string' ? printable(part) : this.#paint(COLOUR[part.action], part.action.padEnd(part.width)),
    );
    this.#io.stdout.write(`${painted.join('')}\n`);
  }
}

const word = (action: Word['action'], width = 0): Word => ({ action, width });

/** Whether the same thing decides. */
const isSame = (a: Step, b: Step | undefined): boolean =>
  a.where === b?.where && a.policy === b.policy && a.rule === b.rule && a.action === b.action && a.reason === b.reason;

const wayText = ({ endpoint, steps }: Way): string => {
  const last = steps.at(-1);
  if (endpoint === null) return 'by an interface without a host endpoint';
  const by = last?.policy ? `${last.policy} ${last.direction}[${last.rule}]` : last?.reason;
  return `by that of ${endpoint}${by ? `: ${by}` : ''}`;
};

function packetText({ protocol, source, destination, icmp }: Answer): string {
  const at = ({ address, port }: Side) =>
    port === null ? address : address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  return `${typeof protocol === 'number' ? `protocol ${protocol}` : protocol} ${at(source)} -> ${at(destination)}${icmp ? ` type ${icmp.type} code ${icmp.code}` : ''}`;
}

const sideText = ({ kind, name, node, address }: Side): string => {
  if (kind === 'Address') return `${address}, outside the cluster`;
  return node === null || kind === 'Node' ? name : `${name} on node ${node}`;
};
