#!/usr/bin/env bash
# npm test: installs what is missing, then every test: check (types, lint, unit, golden, house), fuzz, kernel, interop, end to end.
# A kind of test that fails does not keep the others from running; the last line says which failed.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/install.sh test

failed=()
npm run --silent check || failed+=(check)
for project in fuzz kernel interop e2e; do
  npx vitest run --project "$project" || failed+=("$project")
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "npm test: failed: ${failed[*]}" >&2
  exit 1
fi
echo "npm test: check, fuzz, kernel, interop and e2e passed"
