#!/usr/bin/env bash
# The main job from an empty machine: install, search on Fashion-MNIST inside [1, 3] million MACs, retrain the pick (and a
# random architecture of the same window, alike), test both. A second run reuses what is there; output/quickstart holds
# everything.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source tools/environment.sh
make_environment requirements.txt

export PYTHONWARNINGS="ignore::FutureWarning" OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
python=.venv/bin/python
out=output/quickstart
launch() { "$python" -m torch.distributed.launch --nproc_per_node=2 "$@"; }
say() { printf '\n== %s\n' "$*"; }

say "data"
"$python" -m tools.prepare_data fashion-mnist --out data/fashion-mnist

say "search: train a supernet inside the FLOPs window, pick from it"
launch train.py --cfg configs/quickstart/train.yaml SAVE_PATH=$out/search

random=$("$python" -m tools.sample --space fashion --minimum 1 --maximum 3 --seed 1)
say "retrain the pick"
launch retrain.py --cfg configs/quickstart/retrain.yaml SAVE_PATH=$out/pick INPUT_ARCH=$out/search/pick.json
say "retrain a random architecture of the window, alike: $random"
launch retrain.py --cfg configs/quickstart/retrain.yaml SAVE_PATH=$out/random INPUT_ARCH="$random"

for network in pick random; do
  say "test: $network"
  launch test.py --cfg configs/quickstart/test.yaml RESUME_PATH=$out/$network SAVE_PATH=$out/$network/test
done

"$python" -m tools.report --search $out/search --trained $out/pick $out/random
