#!/usr/bin/env bash
# What the scripts beside it share: case.sh full|performance|eval --devices=N --data_path=… (docs/scripts.md).
# PYTHON names another interpreter than .venv's.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/test/env_npu.sh"
python=${PYTHON:-$root/.venv/bin/python}
command -v "$python" > /dev/null || python=python3
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} exec "$python" -m tools.cases "$@"
