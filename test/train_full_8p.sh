#!/usr/bin/env bash
# Full training on 8 devices: bash test/train_full_8p.sh --data_path=/data/imagenet (docs/scripts.md).
exec bash "$(dirname "${BASH_SOURCE[0]}")/case.sh" full --devices=8 "$@"
