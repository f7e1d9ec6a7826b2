#!/usr/bin/env bash
# NASNet-A mobile, training on 8 devices (--devices N: on others): bash test/run_distribute_train.sh DATA_DIR [KEY=VALUE ...] (docs/nasnet.md).
exec bash "$(dirname "${BASH_SOURCE[0]}")/nasnet.sh" distribute "$@"
