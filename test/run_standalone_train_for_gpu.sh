#!/usr/bin/env bash
# NASNet-A mobile, training on one device: bash test/run_standalone_train_for_gpu.sh DEVICE_ID DATA_DIR [KEY=VALUE ...] (docs/nasnet.md).
exec bash "$(dirname "${BASH_SOURCE[0]}")/nasnet.sh" standalone "$@"
