/**
 * ctl: tsnetctl, the command line for people and scripts.
 *
 * What it is for. Everything an operator does by hand: read and change resources with the verbs, kinds, short names and files that
 * calicoctl users know, look at IPAM, ask why a connection passes or does not, ask an agent for its sessions, routes and state.
 *
 * The way in. The command line, `calicoctl.cfg` or the environment for the datastore, `--socket` for a local agent.
 *
 * The way out. Tables for people (colours only on a terminal), YAML and JSON that are stable for scripts, one line on stderr that
 * says what is wrong, where, and what to do; exit 0, 1 or 2.
 *
 * What it refuses to do. It has no rules of its own: validation is the datastore's, verdicts are policy's, status is the agent's.
 * It loads only what the verb needs, so that it answers at once.
 */
export {};
