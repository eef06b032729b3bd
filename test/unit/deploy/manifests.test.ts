import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DaemonSet } from 'kubernetes-models/apps/v1/DaemonSet';
import { ClusterRole } from 'kubernetes-models/rbac.authorization.k8s.io/v1/ClusterRole';
import { ClusterRoleBinding } from 'kubernetes-models/rbac.authorization.k8s.io/v1/ClusterRoleBinding';
import { ConfigMap } from 'kubernetes-models/v1/ConfigMap';
import { Secret } from 'kubernetes-models/v1/Secret';
import { ServiceAccount } from 'kubernetes-models/v1/ServiceAccount';
import { describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { agentCommand, readSettings } from '../../../agent/read-settings.ts';
import { parseConf } from '../../../cni/conf.ts';

/** deploy/ held against the published schemas of Kubernetes, the metrics that exist, and INTERFACES.md's word on capabilities. */

const DEPLOY = join(import.meta.dirname, '../../../deploy');
const read = (name: string) => readFileSync(join(DEPLOY, name), 'utf8');
const documents = (name: string) => parseAllDocuments(read(name)).map((document) => document.toJS());
const manifests = documents('kubernetes/tsnet.yaml');
const one = (kind: string) => manifests.find((manifest) => manifest.kind === kind);

const KINDS: Record<string, new (data: never) => { validate(): void }> = {
  DaemonSet,
  ClusterRole,
  ClusterRoleBinding,
  ConfigMap,
  Secret,
  ServiceAccount,
};

describe('the manifest of Kubernetes', () => {
  test.each(manifests.map((manifest) => [manifest.kind, manifest]))(
    '%s is of the published schema',
    (kind, manifest) => {
      const { apiVersion, kind: own, ...data } = manifest;
      expect(KINDS[kind], kind).toBeDefined();
      const model = new KINDS[kind](data as never) as { apiVersion?: string; kind?: string; validate(): void };
      expect([model.apiVersion, model.kind]).toEqual([apiVersion, own]);
      model.validate();
    },
  );

  test('a wrong one is refused, so that the test above means something', () => {
    const wrong = structuredClone(one('DaemonSet'));
    wrong.spec.template.spec.containers[0].ports[0].containerPort = 'metrics';
    expect(() => new DaemonSet(wrong).validate()).toThrow('containerPort');
  });

  test('the agent has three capabilities, no privileges and a root that it cannot write', () => {
    const { containers, initContainers } = one('DaemonSet').spec.template.spec;
    expect(containers[0].securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      runAsUser: 0,
      capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW', 'NET_BIND_SERVICE'] },
    });
    expect(initContainers[0].securityContext.capabilities).toEqual({ drop: ['ALL'] });
  });

  test('every mount has its volume, and every volume is used', () => {
    const { containers, initContainers, volumes } = one('DaemonSet').spec.template.spec;
    const mounted = [...containers, ...initContainers].flatMap(({ volumeMounts }) =>
      volumeMounts.map((m: { name: string }) => m.name),
    );
    expect([...new Set(mounted)].sort()).toEqual(volumes.map((v: { name: string }) => v.name).sort());
  });

  test('the token that the installer looks for is mounted where it looks', () => {
    const { initContainers, volumes } = one('DaemonSet').spec.template.spec;
    const token = volumes.find((v: { name: string }) => v.name === 'token');
    const secrets = manifests.filter(({ kind }) => kind === 'Secret').map(({ metadata }) => metadata.name);
    expect(secrets).toContain(token.secret.secretName);
    const { mountPath } = initContainers[0].volumeMounts.find((m: { name: string }) => m.name === 'token');
    expect(read('install-cni.mjs')).toContain(`'${mountPath}'`);
  });

  test('keys of the ConfigMap that are asked for are there', () => {
    const { containers, initContainers } = one('DaemonSet').spec.template.spec;
    const asked = [...containers, ...initContainers]
      .flatMap(({ env }) => env)
      .flatMap(
        (entry: { valueFrom?: { configMapKeyRef?: { key: string } } }) => entry.valueFrom?.configMapKeyRef?.key ?? [],
      );
    expect(asked.length).toBeGreaterThan(0);
    for (const key of asked) expect(one('ConfigMap').data).toHaveProperty([key]);
  });

  test.each([
    ['of the ConfigMap', one('ConfigMap').data['10-tsnet.conflist']],
    ['of deploy/cni', read('cni/10-tsnet.conflist')],
  ])('the network configuration %s is one that the plugin reads', (_, text) => {
    const list = JSON.parse(text);
    expect(list.plugins[0].type).toBe('tsnet-cni');
    const conf = parseConf(JSON.stringify({ ...list.plugins[0], name: list.name, cniVersion: list.cniVersion }));
    expect(conf.policy_setup_timeout_seconds).toBe(10);
  });

  test('the PodMonitor selects the agent and its port of metrics', () => {
    const [monitor] = documents('kubernetes/podmonitor.yaml');
    const { metadata, spec } = one('DaemonSet').spec.template;
    expect(metadata.labels).toMatchObject(monitor.spec.selector.matchLabels);
    expect(spec.containers[0].ports.map((p: { name: string }) => p.name)).toContain(
      monitor.spec.podMetricsEndpoints[0].port,
    );
  });
});

describe('what watches', () => {
  const known = new Set(
    [...readFileSync(join(DEPLOY, '../docs/METRICS.md'), 'utf8').matchAll(/`(tsnet_\w+)`/g)].map((m) => m[1]),
  );
  const used = (text: string) =>
    [...text.matchAll(/\btsnet_\w+/g)].map(([name]) => name.replace(/_(bucket|sum|count)$/, ''));

  test.each(['prometheus/rules.yaml', 'grafana/tsnet.json'])('%s asks for metrics that exist', (name) => {
    expect(used(read(name)).filter((metric) => !known.has(metric))).toEqual([]);
  });

  test.skipIf(!existsSync('/usr/bin/promtool'))('promtool reads the alert rules', () => {
    expect(
      execFileSync('promtool', ['check', 'rules', join(DEPLOY, 'prometheus/rules.yaml')], { encoding: 'utf8' }),
    ).toContain('SUCCESS');
  });

  test('the dashboard has panels, each with a query', () => {
    const { panels } = JSON.parse(read('grafana/tsnet.json'));
    expect(panels.length).toBeGreaterThan(5);
    for (const { targets } of panels) expect(targets.every(({ expr }: { expr: string }) => expr !== '')).toBe(true);
  });
});

test('the units of systemd start programs that exist, with the capabilities of INTERFACES.md and no more', () => {
  for (const name of readdirSync(join(DEPLOY, 'systemd'))) {
    const text = read(`systemd/${name}`);
    const program = text.match(/^ExecStart=\/opt\/tsnet\/(bin\/\S+)/m)?.[1] ?? '';
    expect(existsSync(join(DEPLOY, '..', program)), `${name}: ${program}`).toBe(true);
    const granted = text.match(/^CapabilityBoundingSet=(.*)$/m)?.[1].split(' ') ?? [];
    expect(granted.length).toBeGreaterThan(0);
    for (const capability of granted)
      expect(['CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_NET_BIND_SERVICE']).toContain(capability);
  }
});

test('the unit of the agent lets it write what it writes by default', () => {
  const text = read('systemd/tsnet-agent.service');
  const words = (key: string) => text.match(new RegExp(`^${key}=(.*)$`, 'm'))?.[1].split(' ') ?? [];
  const writable = [
    ...words('ReadWritePaths').map((path) => path.replace(/^-/, '')),
    ...words('StateDirectory').map((name) => `/var/lib/${name}`),
  ];
  const { directory, runDir } = readSettings([], {}, agentCommand('0'));
  for (const path of [directory, runDir.replace(/^\/var\/run/, '/run'), '/var/lib/calico', '/run/xtables.lock'])
    expect(
      writable.some((root) => `${path}/`.startsWith(`${root}/`)),
      path,
    ).toBe(true);
  expect(words('ConfigurationDirectory').map((name) => `/etc/${name}`)).toContain(directory);
});
