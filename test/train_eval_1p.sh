#!/usr/bin/env bash
# Test of a trained network on 1 device: bash test/train_eval_1p.sh --data_path=/data/imagenet --pth_path=… (docs/scripts.md).
exec bash "$(dirname "${BASH_SOURCE[0]}")/case.sh" eval --devices=1 "$@"
