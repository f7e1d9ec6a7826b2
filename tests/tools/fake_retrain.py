"""Stands in for retrain.py: takes its arguments, counts steps, saves each, and writes the published result.

FAKE_PLAN names a JSON file {"<repeat or hash>": [what each attempt does, …]}: "ok", "kill" (itself, half way), "fail",
"silent" (no result); after the list "ok". FAKE_SECONDS is how long the ten steps of a training take.
"""

import fcntl
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

STEPS = 10

keys = dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
folder, epochs = Path(json.loads(keys["SAVE_PATH"])), int(keys["TRAIN.EPOCHS"])
key, seed = folder.parent.name, int(keys["SEED"])
assert keys["RESUME_PATH"] == "auto"
assert folder.is_dir()

alone = (folder / "alone.lock").open("w")
fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)  # two processes in one run folder would spoil it

progress = folder / "progress.txt"
step = int(progress.read_text()) if progress.is_file() else 0
starts = folder / "starts.txt"  # the step that each attempt began with
with starts.open("a") as file:
    print(step, file=file)
attempt = len(starts.read_text().split())
plan = json.loads(Path(os.environ["FAKE_PLAN"]).read_text()) if "FAKE_PLAN" in os.environ else {}
does = (plan.get(folder.name, plan.get(key, [])) + ["ok"] * attempt)[attempt - 1]


def save_and_end(number: int, frame: object) -> None:
    time.sleep(0.5)  # a checkpoint takes its time
    (folder / "saved.txt").write_text(str(step))
    sys.exit(128 + number)


signal.signal(signal.SIGTERM, save_and_end)
while step < STEPS:
    time.sleep(float(os.environ.get("FAKE_SECONDS", "0")) / STEPS)
    step += 1
    progress.write_text(str(step))
    if does == "kill" and step == STEPS // 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if does == "fail":
        print("something\nerror: out of luck", flush=True)
        sys.exit(1)

(folder / "checkpoints").mkdir(exist_ok=True)
for name in ("step-00000010.pth.tar", "best.pth.tar"):
    (folder / "checkpoints" / name).touch()
if does == "silent":
    sys.exit(0)
draw = int(hashlib.md5(f"{key}{seed}".encode()).hexdigest()[:4], 16) / 0xFFFF
evaluations = [
    {
        "epochs": round(epochs * part, 6),
        "training_steps": int(40 * part),
        "train_accuracy": 0.1 + 0.8 * part,
        "validation_accuracy": 0.1 + 0.7 * part + draw / 100,
        "test_accuracy": 0.1 + 0.6 * part + draw / 100,
        "predict_time": 0.5,
    }
    for part in (0, 0.5, 1)
]
published = {key: {"trainable_params": 1000, "total_time": 2.5, "evaluation_results": evaluations}}
temporary = folder / "result.tmp"
temporary.write_text(json.dumps({"seed": seed, "nasbench101": published}))
temporary.rename(folder / "result.json")
