#!/usr/bin/env bash
# One cell of NAS-Bench-101, trained once: bash test/train_single_arch.sh DATA.PATH=… (docs/nasbench101.md).
num=1                    # cells to draw
arch_file="single_arch"  # into data/single_arch.json; where it is there, its cell is trained
source "$(dirname "${BASH_SOURCE[0]}")/archs.sh" --repeats 1 "$@"
