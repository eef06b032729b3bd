/**
 * cni: tsnet-cni, the plugin that a container runtime runs.
 *
 * What it is for. ADD gives a container an address, an interface and an endpoint in the datastore; DEL takes them back; CHECK, GC, STATUS
 * and VERSION as the CNI specification has them, 0.3.1 to 1.1.0, from Calico's network configuration or our own.
 *
 * The way in. The environment and the configuration on standard input that the runtime passes.
 *
 * The way out. A result or an error as JSON on standard output; log lines go to standard error or a file, never between.
 *
 * What it refuses to do. It programs no policy and no routes on the host: the agent does, and the plugin waits for it within a bound.
 * Every step has its undo; a failure halfway leaves nothing behind, and running it twice is the same as once.
 */
export {};
