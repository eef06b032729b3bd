/**
 * deploy/lab: a whole cluster on one machine, in network namespaces.
 *
 * What it is for. To see tsnet do its work, by hand (`npm run lab`) and in the end-to-end tests: a real etcd, nodes that each run
 * `tsnet-agent`, a top-of-rack router that runs BIRD 2, workloads, and a wire between them that can be cut.
 *
 * The way in. `createLab(options)` brings one up and gives a `Lab`; `Lab.attach(name)` finds one that another process made. Labs of different
 * names do not meet, so tests run side by side. `lab.node(n)` starts, kills and asks an agent; `lab.etcd` stops, freezes, compacts; `lab.tor`
 * is asked as `birdc` would; `lab.probe(w)` sends traffic from inside a workload; `reach` and `settledMatrix` say who reaches whom.
 *
 * The way out. `waitFor` waits for a condition and otherwise fails with the reason and the log lines that show it. `lab.down()` ends what was
 * started and removes the namespaces; all that it needs for that is on disk, so it also works after a crash.
 *
 * What it refuses to do. It writes to etcd what the other programs of a Calico cluster would have written, by a client of its own, and works
 * out by hand what is to be expected: nothing that it examines is used to examine it. It sends no packet outside its namespaces, and ends no
 * process that it did not start.
 */
export * from './daemon.ts';
export * from './etcd.ts';
export * from './lab.ts';
export * from './netns.ts';
export * from './node.ts';
export * from './objects.ts';
export * from './plan.ts';
export * from './probe-client.ts';
export * from './program.ts';
export * from './reach.ts';
export * from './run.ts';
export * from './state.ts';
export * from './steps.ts';
export * from './tor.ts';
export * from './wait.ts';
export * from './workload.ts';
