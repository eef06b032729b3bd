import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

// Puts the CNI plugin and its configuration on the machine that the directories of this container are mounted from. Every file is made beside
// its place and renamed into it: a runtime may start the plugin at any moment.
const env = process.env;
const bin = env.CNI_BIN_DIR ?? '/host/opt/cni/bin';
const net = env.CNI_NET_DIR ?? '/host/etc/cni/net.d';
const source = env.TSNET_CNI_FILE ?? '/opt/tsnet/dist/cni-file/tsnet-cni';
const template = env.CNI_CONF_TEMPLATE ?? '/etc/tsnet/cni/10-tsnet.conflist';
// Where the runtime sees that directory; the kubelet's machine need not have Node.js, so ours goes with the plugin.
const seenAs = env.CNI_BIN_DIR_ON_HOST ?? '/opt/cni/bin';

function place(path, write) {
  const next = `${path}.new`;
  write(next);
  // On the disk before it has its name: a machine that loses power must not find half a plugin.
  const file = openSync(next, 'r');
  fsyncSync(file);
  closeSync(file);
  renameSync(next, path);
  process.stdout.write(`installed ${path}\n`);
}

mkdirSync(bin, { recursive: true });
mkdirSync(net, { recursive: true });
place(join(bin, 'tsnet-node'), (path) => {
  copyFileSync(process.execPath, path);
  chmodSync(path, 0o755);
});
// What V8 keeps of the plugin, so that it starts faster.
if (existsSync(`${source}.v8`)) place(join(bin, 'tsnet-cni.v8'), (path) => copyFileSync(`${source}.v8`, path));
place(join(bin, 'tsnet-cni'), (path) => {
  const text = readFileSync(source, 'utf8').replace(/^#!.*\n/, `#!${seenAs}/tsnet-node\n`);
  writeFileSync(path, text, { mode: 0o755 });
});

// TLS files are copied for the plugin, which runs outside of this container.
const certificates = env.ETCD_CERT_SOURCE ?? '/etc/tsnet/etcd';
const copies = join(net, 'tsnet-tls');
for (const name of ['ca.pem', 'cert.pem', 'key.pem'])
  if (existsSync(join(certificates, name))) {
    mkdirSync(copies, { recursive: true, mode: 0o700 });
    place(join(copies, name), (path) => {
      copyFileSync(join(certificates, name), path);
      chmodSync(path, 0o600);
    });
  }

// The plugin asks the API server about pods by the token of a Secret, which does not end with this container.
const token = env.TOKEN_SOURCE ?? '/etc/tsnet/token';
const hasToken = existsSync(join(token, 'token')) && env.KUBERNETES_SERVICE_HOST !== undefined;
if (hasToken) {
  const host = env.KUBERNETES_SERVICE_HOST.includes(':')
    ? `[${env.KUBERNETES_SERVICE_HOST}]`
    : env.KUBERNETES_SERVICE_HOST;
  const cluster = {
    server: `https://${host}:${env.KUBERNETES_SERVICE_PORT ?? '443'}`,
    'certificate-authority-data': readFileSync(join(token, 'ca.crt')).toString('base64'),
  };
  const kubeconfig = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'tsnet',
    contexts: [{ name: 'tsnet', context: { cluster: 'tsnet', user: 'tsnet' } }],
    clusters: [{ name: 'tsnet', cluster }],
    users: [{ name: 'tsnet', user: { token: readFileSync(join(token, 'token'), 'utf8').trim() } }],
  };
  place(join(net, 'tsnet-kubeconfig'), (path) => writeFileSync(path, JSON.stringify(kubeconfig), { mode: 0o600 }));
}

// The configuration last: with it the node is ready for pods.
const conflist = JSON.parse(readFileSync(template, 'utf8'));
for (const plugin of conflist.plugins ?? [])
  if (plugin.type === 'tsnet-cni') {
    plugin.nodename = env.NODENAME ?? plugin.nodename;
    plugin.etcd_endpoints = env.ETCD_ENDPOINTS ?? plugin.etcd_endpoints;
    if (hasToken)
      plugin.kubernetes = {
        kubeconfig: `${env.CNI_NET_DIR_ON_HOST ?? '/etc/cni/net.d'}/tsnet-kubeconfig`,
        ...plugin.kubernetes,
      };
    const seen = (name) =>
      existsSync(join(copies, name)) ? `${env.CNI_NET_DIR_ON_HOST ?? '/etc/cni/net.d'}/tsnet-tls/${name}` : undefined;
    plugin.etcd_ca_cert_file = seen('ca.pem');
    plugin.etcd_cert_file = seen('cert.pem');
    plugin.etcd_key_file = seen('key.pem');
    // The configuration is only root's to read.
    for (const name of ['username', 'password']) {
      const file = join(certificates, `cni-${name}`);
      if (existsSync(file)) plugin[`etcd_${name}`] = readFileSync(file, 'utf8').trim();
    }
  }
place(join(net, '10-tsnet.conflist'), (path) =>
  writeFileSync(path, `${JSON.stringify(conflist, null, 2)}\n`, { mode: 0o600 }),
);
