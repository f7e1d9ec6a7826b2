#!/usr/bin/env bash
# Full training on 1 device: bash test/train_full_1p.sh --data_path=/data/imagenet (docs/scripts.md).
exec bash "$(dirname "${BASH_SOURCE[0]}")/case.sh" full --devices=1 "$@"
