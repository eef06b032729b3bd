#!/usr/bin/env bash
# npm run bench [LINE...]: the speaker beside its competitors under the same load, a table on stdout; the whole agent at scale, one JSON object a line; and rules
# and sets: what a packet pays for them, and what a change of them takes.
# Needs root, gcc and the daemons (scripts/install.sh). LINE is one of those below; all without. PEERS and ROUNDS may be set in the environment.
# The load generator of the speaker's lines is not part of the project: BENCH_TOOLS names the directory of peers.py and bgpload.c.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "bench: network namespaces need root" >&2; exit 2; }

declare -A speaker=(
  [million]='--prefixes 1000000 --withdraw'
  [sets]='--prefixes 1000000 --per-attr 10'
  [reflector]='--ibgp --feeders 50 --sinks 50 --disjoint --prefixes 1000'
  [mesh]='--feeders 20 --sinks 20 --disjoint --prefixes 10000'
  [flaps]='--prefixes 1000 --flaps 200'
  [kernel]='--kernel --prefixes 100000'
)
agent=(start-policies start-netsets start-namespaces start-thousand start-nftables edits-iptables edits-iptables-dual edits-legacy edits-legacy-dual edits-nftables edits-nftables-dual churn first-packet)
declare -A rules=(
  [datapath]='datapath.bench.ts 100 20'
  [chains-nft]='chains.bench.ts nft 100'
  [chains-legacy]='chains.bench.ts legacy 40'
  [chains-nftables]='chains.bench.ts nftables 100'
  [strangers]='strangers.bench.ts 2000 28'
)
[ $# -gt 0 ] || set -- million sets reflector mesh flaps kernel "${agent[@]}" datapath chains-nft chains-legacy chains-nftables strangers
wanted=()
for line in "$@"; do
  case " ${!speaker[*]} " in *" $line "*) wanted+=("$line"); continue ;; esac
  case " ${agent[*]} ${!rules[*]} " in *" $line "*) ;; *) echo "bench: no line $line; there are ${!speaker[*]} ${agent[*]} ${!rules[*]}" >&2; exit 2 ;; esac
done
npm run --silent build >&2

run_speaker() {
  local tools
  for tools in "${BENCH_TOOLS:-}" ../shared/bench ../../shared/bench; do [ -n "$tools" ] && [ -f "$tools/peers.py" ] && break; done
  [ -f "$tools/peers.py" ] || { echo "bench: no peers.py; set BENCH_TOOLS" >&2; exit 2; }
  export TSNET_BGP="$PWD/bin/tsnet-bgpd --config {conf}"
  for line in "$@"; do
    # shellcheck disable=SC2086 # a line is words
    python3 "$tools/peers.py" --peers "${PEERS:-bird,tsnet}" --rounds "${ROUNDS:-3}" ${speaker[$line]} | sed "s/^{/{\"line\": \"$line\", /"
  done | node scripts/bench-table.mjs
}
[ ${#wanted[@]} -eq 0 ] || run_speaker "${wanted[@]}"
for line in "$@"; do
  case " ${agent[*]} " in
    *" $line "*) bench="agent.bench.ts $line" ;;
    *) bench=${rules[$line]:-} ;;
  esac
  # A namespace of its own: interfaces, rules and an etcd on its loopback.
  # shellcheck disable=SC2086 # a line is words
  [ -z "$bench" ] || unshare --net node --conditions=tsnet-source --import tsx test/bench/$bench
done
