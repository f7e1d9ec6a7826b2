#!/usr/bin/env bash
# The test suite: bash tests/run.sh [all] [pytest's own arguments]. Without `all`, the default tests (a few minutes on
# 2 cores); with it the slow, differential and device tests too. Makes .venv when there is none.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/environment.sh
make_environment requirements.txt requirements-dev.txt

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
if [ "${1:-}" = all ]; then
  shift
  set -- -m "" "$@"
fi
exec .venv/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder "$@" # long files come early
