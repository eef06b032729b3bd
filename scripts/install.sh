#!/usr/bin/env bash
# Installs what the given groups of packages lack, says what, and skips what is there.
#   scripts/install.sh lab|test
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
[ -t 1 ] || say() { printf '==> %s\n' "$*"; }

lab=(iproute2 iptables ipset nftables conntrack procps iputils-ping etcd-server bird2)
tests=("${lab[@]}" etcd-client openssl podman runc containernetworking-plugins frr gobgpd openbgpd exabgp bgpdump prometheus tshark iputils-arping ndisc6 busybox-static gcc libc6-dev python3 zsh fish debootstrap debian-archive-keyring)
case "${1:-lab}" in
lab) wanted=("${lab[@]}") ;;
test) wanted=("${tests[@]}") ;;
*) echo "usage: scripts/install.sh lab|test" >&2; exit 2 ;;
esac

if [ "$(id -u)" != 0 ]; then
  echo "tsnet: this needs root (network namespaces, iptables): run it with sudo" >&2
  exit 1
fi
if ! command -v node >/dev/null || ! node -e 'process.exit(process.versions.node.localeCompare("20.20.0", undefined, {numeric: true}) < 0 ? 1 : 0)'; then
  echo "tsnet: Node.js 20.20 or newer is needed; found $(node --version 2>/dev/null || echo none)" >&2
  exit 1
fi

missing=()
for package in "${wanted[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  say "installing Debian packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # Daemons are started by the lab and the tests, in namespaces; none may start on this machine.
  policy=/usr/sbin/policy-rc.d
  made=
  if [ ! -e $policy ]; then printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && made=1; fi
  trap '[ -z "${made:-}" ] || rm -f /usr/sbin/policy-rc.d' EXIT
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

stamp=node_modules/.tsnet-installed
if [ ! -e $stamp ] || ! cmp -s package-lock.json $stamp; then
  say "installing npm packages (npm ci)"
  npm ci --loglevel=error --no-progress >/dev/null
  cp package-lock.json $stamp
fi

if [ ! -e dist/.tsbuildinfo ] || [ ! -e dist/cli/main.cjs ] || [ -n "$(find core datastore policy bgp agent ctl cni deploy -name '*.ts' -newer dist/.tsbuildinfo -print -quit)" ]; then
  say "building"
  npm run --silent build
  touch dist/.tsbuildinfo
fi
