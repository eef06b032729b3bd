#!/usr/bin/env bash
# npm test: installs what is missing, then every test: check (types, lint, unit, golden, house), kernel, interop, end to end.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/install.sh test
npm run --silent check
for project in fuzz kernel interop e2e; do
  [ -z "$(find "test/$project" -name '*.test.ts' -print -quit 2>/dev/null)" ] || npx vitest run --project "$project"
done
