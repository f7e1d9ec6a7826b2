#!/usr/bin/env bash
# NASNet-A mobile, test of a checkpoint: bash test/run_eval.sh DEVICE_ID DATA_DIR CHECKPOINT [KEY=VALUE ...] (docs/nasnet.md).
exec bash "$(dirname "${BASH_SOURCE[0]}")/nasnet.sh" evaluate "$@"
