#!/usr/bin/env bash
# A short training that measures images/s on 8 devices: bash test/train_performance_8p.sh --data_path=/data/imagenet (docs/scripts.md).
exec bash "$(dirname "${BASH_SOURCE[0]}")/case.sh" performance --devices=8 "$@"
