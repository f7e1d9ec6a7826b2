#!/usr/bin/env bash
# What train_*_arch*.sh share; they set num and arch_file. Paths are relative to the root of the project.
# PYTHON names another interpreter than .venv's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source test/env_npu.sh
python=${PYTHON:-$PWD/.venv/bin/python}
command -v "$python" > /dev/null || python=python3
exec "$python" -m tools.nasbench101 train --count "$num" --architectures "$arch_file" "$@"
