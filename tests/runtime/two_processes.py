"""Run by test_world.py under a launcher: says what each process saw, or fails as its first argument names."""

import json
import sys

import torch

from configs.errors import DataError
from configs.loading import parse_arguments
from runtime.checkpoint import step_name
from runtime.context import start
from runtime.scripts import run


def main() -> None:
    scenario, *arguments = [argument for argument in sys.argv[1:] if not argument.startswith("--local")]
    config = parse_arguments("train", arguments)
    with start(config, "train") as runtime:
        world = runtime.world
        if scenario == "fail_on_rank_1":
            if world.rank == 1:
                raise DataError("picture 7 is broken")
            world.barrier()
        seen = {
            "sum": world.sum(torch.tensor([1.0, world.rank])).tolist(),
            "mean": world.mean(torch.tensor([1.0, world.rank])).tolist(),
            "gather": world.gather({"rank": world.rank}),
            "broadcast": [world.broadcast(f"from {world.rank}", source) for source in (0, 1)],
            "agree": world.agree(lambda: world.rank),
            "world": [world.rank, world.local_rank, world.size, world.local_size],
            "threads": torch.get_num_threads(),
        }
        runtime.log("told once")
        runtime.logger.warning("told by each")
        runtime.describe(config)
        runtime.tracker.log(1, {"loss": 0.5})
        runtime.checkpointer.save({"step": 1, "weights": torch.ones(3)}, step_name(1))
        world.barrier()
        seen["loaded"] = runtime.checkpointer.load(runtime.folder)["step"]
        (runtime.folder / f"rank{world.rank}.json").write_text(json.dumps(seen))


run(main)
