#!/usr/bin/env bash
# What run_*.sh share: nasnet.sh standalone|distribute|evaluate … (docs/nasnet.md). PYTHON names another interpreter.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/test/env_npu.sh"
python=${PYTHON:-$root/.venv/bin/python}
command -v "$python" > /dev/null || python=python3
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} exec "$python" -m tools.nasnet "$@"
