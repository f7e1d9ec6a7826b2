#!/usr/bin/env bash
# Cells of NAS-Bench-101, each trained three times: bash test/train_mutiple_archs.sh DATA.PATH=… (docs/nasbench101.md).
num=5                    # cells to draw
arch_file="train_arch"   # into data/train_arch.json; where it is there, its cells are trained
source "$(dirname "${BASH_SOURCE[0]}")/archs.sh" "$@"
