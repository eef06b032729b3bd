import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { attempt, type Output, run } from '../../deploy/lab/index.ts';
import type { Image } from './dockerfile.ts';

/**
 * The pod of a DaemonSet on a node that is a network namespace: its containers as podman and runc make them from a directory, with the capabilities, the
 * read-only root, the mounts and the environment of the manifest, and podman's seccomp filter for RuntimeDefault. Paths of the machine are
 * directories of the pod's own.
 */

interface Container {
  readonly name: string;
  readonly command?: string[];
  readonly env?: { name: string; value?: string; valueFrom?: ValueFrom }[];
  readonly securityContext: {
    readonly allowPrivilegeEscalation: boolean;
    readonly readOnlyRootFilesystem: boolean;
    readonly runAsUser: number;
    readonly capabilities: { drop: string[]; add?: string[] };
  };
  readonly volumeMounts: { name: string; mountPath: string; readOnly?: boolean }[];
  readonly readinessProbe: { httpGet: { host: string; port: number; path: string } };
}
interface ValueFrom {
  readonly fieldRef?: { fieldPath: string };
  readonly configMapKeyRef?: { name: string; key: string };
  readonly secretKeyRef?: { name: string; key: string; optional?: boolean };
}
interface Volume {
  readonly name: string;
  readonly hostPath?: { path: string; type: string };
  readonly configMap?: { name: string };
  readonly secret?: { secretName: string };
  readonly emptyDir?: object;
}
interface PodSpec {
  readonly containers: Container[];
  readonly initContainers: Container[];
  readonly volumes: Volume[];
  readonly terminationGracePeriodSeconds: number;
}

/** What the pod meets: where, and what an operator changes in the manifest before applying it. */
export interface Place {
  readonly netns: string;
  /** `spec.nodeName`, `status.hostIP`. */
  readonly fields: Readonly<Record<string, string>>;
  /** Instead of the values in the ConfigMap. */
  readonly config: Readonly<Record<string, string>>;
  /** Files of Secrets, by the Secret's name. */
  readonly secrets: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Variables that the kubelet adds. */
  readonly env: Readonly<Record<string, string>>;
  /** Variables that are taken out of the manifest. */
  readonly without: readonly string[];
}

/** Where sysctls of the pod's network namespace are: the one path of the machine that is not exchanged. */
const REAL_PATHS = ['/proc/sys/net'];

export class Pod {
  readonly spec: PodSpec;
  readonly #configMaps: Map<string, Record<string, string>>;
  readonly #image: Image;
  readonly #place: Place;
  readonly #dir = mkdtempSync(join(tmpdir(), 'tsn-pod-'));
  readonly #started = new Set<string>();

  constructor(manifest: string, image: Image, place: Place) {
    const documents = parseAllDocuments(readFileSync(manifest, 'utf8')).map((document) => document.toJS());
    this.spec = documents.find(({ kind }) => kind === 'DaemonSet').spec.template.spec;
    this.#configMaps = new Map(
      documents.filter(({ kind }) => kind === 'ConfigMap').map(({ metadata, data }) => [metadata.name, data]),
    );
    this.#image = image;
    this.#place = place;
    for (const volume of this.spec.volumes) this.#fill(volume);
  }

  /** A path of the node, as the volumes of the pod show it. */
  path(volume: string, ...rest: string[]): string {
    return join(this.#dir, volume, ...rest);
  }
  name(container: string): string {
    return `${this.#place.netns}-${container}`;
  }

  /** Runs a container to its end, as the kubelet does with init containers. */
  runInit(container: Container): Promise<Output> {
    return this.#podman(['run', '--rm', ...this.#options(container)]);
  }
  async start(container: Container): Promise<void> {
    this.#started.add(container.name);
    await this.#demand(['run', '-d', ...this.#options(container)]);
  }
  exec(container: Container, command: readonly string[]): Promise<Output> {
    return this.#podman(['exec', this.name(container.name), ...command]);
  }
  /** The process that the container is. */
  async pid(container: Container): Promise<number> {
    return Number(await this.#demand(['inspect', '-f', '{{.State.Pid}}', this.name(container.name)]));
  }
  async logs(container: Container): Promise<string> {
    const { stdout, stderr } = await this.#podman(['logs', '--tail', '20', this.name(container.name)]);
    return stdout + stderr;
  }
  /** SIGTERM, and SIGKILL after the time of grace; gives the exit code. */
  async stop(container: Container): Promise<number> {
    await this.#demand(['stop', '-t', String(this.spec.terminationGracePeriodSeconds), this.name(container.name)]);
    return Number(await this.#demand(['inspect', '-f', '{{.State.ExitCode}}', this.name(container.name)]));
  }
  async remove(): Promise<void> {
    for (const name of this.#started) await this.#podman(['rm', '-f', '-t', '0', this.name(name)]);
    rmSync(this.#dir, { recursive: true, force: true });
  }

  #fill({ name, hostPath, configMap, secret }: Volume): void {
    if (hostPath?.type === 'FileOrCreate') writeFileSync(this.path(name), '');
    else mkdirSync(this.path(name));
    const files = {
      ...(configMap ? this.#configMap(configMap.name) : {}),
      ...(secret ? this.#place.secrets[secret.secretName] : {}),
    };
    for (const [file, text] of Object.entries(files)) writeFileSync(this.path(name, file), text, { mode: 0o400 });
  }
  #configMap(name: string): Record<string, string> {
    const data = this.#configMaps.get(name);
    if (!data) throw new Error(`the manifest has no ConfigMap ${name}`);
    return { ...data, ...this.#place.config };
  }
  #options(container: Container): string[] {
    const { securityContext: security, volumeMounts, command } = container;
    const { capabilities } = security;
    const env = { ...this.#image.env, ...this.#place.env, ...this.#environment(container) };
    const [program, ...args] = command ?? this.#image.entrypoint;
    return [
      ...['--name', this.name(container.name), '--network', 'host', '--user', String(security.runAsUser)],
      ...capabilities.drop.flatMap((name) => ['--cap-drop', name]),
      ...(capabilities.add ?? []).flatMap((name) => ['--cap-add', name]),
      ...(security.allowPrivilegeEscalation ? [] : ['--security-opt', 'no-new-privileges']),
      ...(security.readOnlyRootFilesystem ? ['--read-only', '--read-only-tmpfs=false'] : []),
      ...volumeMounts.flatMap((mount) => ['-v', this.#mount(mount)]),
      ...Object.entries(env).flatMap(([key, value]) => ['-e', `${key}=${value}`]),
      // Small machines give no more than this.
      ...['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024', '--workdir', this.#image.workdir],
      ...['--entrypoint', JSON.stringify([program]), '--rootfs', this.#image.rootfs, ...args],
    ];
  }
  #mount({ name, mountPath, readOnly }: Container['volumeMounts'][number]): string {
    const real = this.spec.volumes.find((volume) => volume.name === name)?.hostPath?.path ?? '';
    const source = REAL_PATHS.includes(real) ? real : this.path(name);
    return `${source}:${mountPath}:${readOnly ? 'ro' : 'rw'}`;
  }
  /** As the kubelet makes it: `$(NAME)` stands for a variable that was said before. */
  #environment({ env }: Container): Record<string, string> {
    const made: Record<string, string> = {};
    for (const { name, value, valueFrom } of env ?? []) {
      if (this.#place.without.includes(name)) continue;
      const found = valueFrom
        ? this.#lookUp(valueFrom)
        : value?.replaceAll(/\$\((\w+)\)/g, (_, other) => made[other] ?? '');
      if (found !== undefined) made[name] = found;
      else if (!valueFrom?.secretKeyRef?.optional) throw new Error(`the manifest's ${name} has no value`);
    }
    return made;
  }

  #lookUp({ fieldRef, configMapKeyRef, secretKeyRef }: ValueFrom): string | undefined {
    if (fieldRef) return this.#place.fields[fieldRef.fieldPath];
    if (configMapKeyRef) return this.#configMap(configMapKeyRef.name)[configMapKeyRef.key];
    return secretKeyRef && this.#place.secrets[secretKeyRef.name]?.[secretKeyRef.key];
  }

  async #demand(args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.#podman(args);
    if (code !== 0) throw new Error(`podman ${args.join(' ')}: ${stderr}`);
    return stdout.trim();
  }
  /** Not `ip netns exec`, which hides the control groups that runc needs. */
  #podman(args: readonly string[]): Promise<Output> {
    const places = ['--root', `${this.#dir}/root`, '--runroot', `${this.#dir}/run`, '--tmpdir', `${this.#dir}/tmp`];
    const how = ['--storage-driver', 'vfs', '--runtime', 'runc', '--cgroup-manager', 'cgroupfs'];
    const podman = ['podman', ...places, ...how, '--events-backend', 'file', ...args];
    return attempt(['nsenter', `--net=/run/netns/${this.#place.netns}`, '--', ...podman]);
  }
}

/** Programs of the node, which see the pod's volumes where the manifest has them on the machine. */
export function onNode(pod: Pod, netns: string, command: readonly string[], input?: string): Promise<string> {
  const mounts = pod.spec.volumes.flatMap(({ name, hostPath }) =>
    hostPath?.type === 'DirectoryOrCreate'
      ? [`mkdir -p ${hostPath.path} && mount --bind ${pod.path(name)} ${hostPath.path}`]
      : [],
  );
  const line = `${mounts.join(' && ')} && exec "$0" "$@"`;
  return run(['nsenter', `--net=/run/netns/${netns}`, 'unshare', '--mount', 'sh', '-c', line, ...command], input);
}
