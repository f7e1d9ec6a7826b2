#!/usr/bin/env bash
# Test of a trained network on 8 devices: bash test/train_eval_8p.sh --data_path=/data/imagenet --pth_path=… (docs/scripts.md).
exec bash "$(dirname "${BASH_SOURCE[0]}")/case.sh" eval --devices=8 "$@"
