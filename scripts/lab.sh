#!/usr/bin/env bash
# npm run lab: installs what is missing, builds, and runs the lab (deploy/lab/main.ts); arguments are its own.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/install.sh lab >&2
exec node dist/deploy/lab/main.js "$@"
