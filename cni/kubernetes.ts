import { readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { dirname, resolve } from 'node:path';
import * as z from 'zod';
import { messageOf } from '#core';
import type { Conf } from './conf.ts';
import { CNI_CODE, CniError } from './error.ts';

const map = z.record(z.string(), z.string()).nullish();
const metadata = z.looseObject({ labels: map, annotations: map });
const port = z.looseObject({
  name: z.string().optional(),
  protocol: z.string().optional(),
  containerPort: z.number(),
  hostPort: z.number().optional(),
  hostIP: z.string().optional(),
});
const podSchema = z.looseObject({
  metadata,
  spec: z.looseObject({
    serviceAccountName: z.string().optional(),
    containers: z.array(z.looseObject({ ports: z.array(port).nullish() })).nullish(),
  }),
});
const namespaceSchema = z.looseObject({ metadata });

/** What of a pod and its namespace the endpoint is made of. */
export interface PodFacts {
  readonly pod: z.infer<typeof podSchema>;
  readonly namespace: z.infer<typeof namespaceSchema>;
}

/** Asks the API server about a pod. @throws CniError tryAgain, missing, denied, configuration */
export async function readPod(conf: Conf, namespace: string, pod: string): Promise<PodFacts> {
  const server = await apiServer(conf);
  const at = (path: string) => get(server, `/api/v1/namespaces/${encodeURIComponent(namespace)}${path}`);
  const [one, its] = await Promise.all([at(`/pods/${encodeURIComponent(pod)}`), at('')]);
  const [facts, around] = [podSchema.safeParse(one), namespaceSchema.safeParse(its)];
  if (!facts.success || !around.success)
    throw new CniError(CNI_CODE.decode, `the API server's pod ${namespace}/${pod} cannot be read`);
  return { pod: facts.data, namespace: around.data };
}

interface Server {
  readonly url: string;
  readonly options: RequestOptions;
}

const named = <T extends z.ZodType>(key: string, value: T) =>
  z.array(z.looseObject({ name: z.string(), [key]: value }));
const file = z.string().optional();
const kubeconfig = z.looseObject({
  'current-context': z.string(),
  contexts: named('context', z.looseObject({ cluster: z.string(), user: z.string() })),
  clusters: named(
    'cluster',
    z.looseObject({ server: z.url(), 'certificate-authority': file, 'certificate-authority-data': file }),
  ),
  users: named(
    'user',
    z.looseObject({
      token: file,
      tokenFile: file,
      'client-certificate': file,
      'client-certificate-data': file,
      'client-key': file,
      'client-key-data': file,
    }),
  ),
});

async function apiServer({ kubernetes }: Conf): Promise<Server> {
  const path = kubernetes?.kubeconfig;
  if (!path) {
    if (kubernetes?.k8s_api_root) return { url: kubernetes.k8s_api_root, options: {} };
    throw new CniError(CNI_CODE.configuration, 'kubernetes.kubeconfig: is required with policy.type k8s');
  }
  try {
    const { parse } = await import('yaml');
    return serverOf(kubeconfig.parse(parse(readFileSync(path, 'utf8'))), path, kubernetes?.k8s_api_root);
  } catch (error) {
    const why = error instanceof z.ZodError ? z.prettifyError(error).replaceAll('\n', ' ') : messageOf(error);
    throw new CniError(CNI_CODE.configuration, `kubernetes.kubeconfig: ${path} cannot be used: ${why}`);
  }
}

function serverOf(config: z.infer<typeof kubeconfig>, path: string, root: string | undefined): Server {
  const one = (
    list: readonly Record<string, unknown>[],
    key: string,
    name: string,
  ): Record<string, string | undefined> => {
    const found = list.find((entry) => entry.name === name)?.[key];
    if (!found) throw new Error(`there is no ${key} ${JSON.stringify(name)}`);
    return found as Record<string, string | undefined>;
  };
  const context = one(config.contexts, 'context', config['current-context']);
  const cluster = one(config.clusters, 'cluster', context.cluster ?? '');
  const user = one(config.users, 'user', context.user ?? '');
  // Paths are relative to the file that names them.
  const text = (name: string | undefined) => (name ? readFileSync(resolve(dirname(path), name)) : undefined);
  const pem = (of: typeof user, key: string) => {
    const data = of[`${key}-data`];
    return data ? Buffer.from(data, 'base64') : text(of[key]);
  };
  const token = user.token ?? text(user.tokenFile)?.toString('utf8').trim();
  return {
    url: root || (cluster.server as string),
    options: {
      ca: pem(cluster, 'certificate-authority'),
      cert: pem(user, 'client-certificate'),
      key: pem(user, 'client-key'),
      headers: token ? { authorization: `Bearer ${token}` } : {},
    } as RequestOptions,
  };
}

const LIMIT = { time: 15_000, size: 4 << 20 } as const;

function get({ url, options }: Server, path: string): Promise<unknown> {
  const target = new URL(url.replace(/\/$/, '') + path);
  const send = target.protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const fail = (code: number, why: string) => reject(new CniError(code, `GET ${target}: ${why}`));
    const request = send(target, { ...options, timeout: LIMIT.time }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        if (text.length > LIMIT.size) request.destroy(new Error('the answer is too large'));
      });
      response.on('end', () => {
        const { statusCode = 0 } = response;
        if (statusCode === 404) return fail(CNI_CODE.missing, 'there is no such object');
        if (statusCode === 401 || statusCode === 403) return fail(CNI_CODE.denied, `refused with ${statusCode}`);
        if (statusCode !== 200) return fail(CNI_CODE.tryAgain, `status ${statusCode}`);
        try {
          resolve(JSON.parse(text));
        } catch (error) {
          fail(CNI_CODE.decode, messageOf(error));
        }
      });
    });
    request.on('timeout', () => request.destroy(new Error(`no answer within ${LIMIT.time / 1000} s`)));
    request.on('error', (error) => fail(CNI_CODE.tryAgain, messageOf(error)));
    request.end();
  });
}
