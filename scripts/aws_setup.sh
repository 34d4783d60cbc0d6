#!/usr/bin/env bash
# The AWS side by one word each: scripts/aws_setup.sh help. All of it is in emr/.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ ! -x "$root/.venv/bin/python" ]; then
  echo "aws_setup.sh: there is no $root/.venv yet; run: make env" >&2
  exit 2
fi
PYTHONPATH=$root exec "$root/.venv/bin/python" -m emr "$@"
