#!/usr/bin/env bash
# npm run bench [LINE...]: the speaker beside its competitors under the same load, a table on stdout. Needs root, gcc and the daemons
# (scripts/install.sh). LINE is one of those below; all without. PEERS and ROUNDS may be set in the environment.
# The load generator is not part of the project: BENCH_TOOLS names the directory of peers.py and bgpload.c.
set -euo pipefail
cd "$(dirname "$0")/.."
for tools in "${BENCH_TOOLS:-}" ../shared/bench ../../shared/bench; do [ -n "$tools" ] && [ -f "$tools/peers.py" ] && break; done
[ -f "$tools/peers.py" ] || { echo "bench: no peers.py; set BENCH_TOOLS" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "bench: network namespaces need root" >&2; exit 2; }
npm run --silent build >&2
export TSNET_BGP="$PWD/bin/tsnet-bgpd --config {conf}"

declare -A lines=(
  [million]='--prefixes 1000000 --withdraw'
  [sets]='--prefixes 1000000 --per-attr 10'
  [reflector]='--ibgp --feeders 50 --sinks 50 --disjoint --prefixes 1000'
  [mesh]='--feeders 20 --sinks 20 --disjoint --prefixes 10000'
  [flaps]='--prefixes 1000 --flaps 200'
  [kernel]='--kernel --prefixes 100000'
)
[ $# -gt 0 ] || set -- million sets reflector mesh flaps kernel
for line in "$@"; do
  [ -n "${lines[$line]:-}" ] || { echo "bench: no line $line; there are ${!lines[*]}" >&2; exit 2; }
  # shellcheck disable=SC2086 # a line is words
  python3 "$tools/peers.py" --peers "${PEERS:-bird,tsnet}" --rounds "${ROUNDS:-3}" ${lines[$line]} | sed "s/^{/{\"line\": \"$line\", /"
done | node scripts/bench-table.mjs
