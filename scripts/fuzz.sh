#!/usr/bin/env bash
# Fuzzes every decoder for long, from the kept seeds and a fresh random seed.
#   npm run fuzz -- [FACTOR]     how many times the work of a test run (default 50)
set -euo pipefail
cd "$(dirname "$0")/.."

export FUZZ_FACTOR="${1:-50}"
export FUZZ_SEED="${FUZZ_SEED:-$((RANDOM * 32768 + RANDOM))}"
echo "fuzzing with FUZZ_SEED=$FUZZ_SEED FUZZ_FACTOR=$FUZZ_FACTOR"
exec npx vitest run --project fuzz
