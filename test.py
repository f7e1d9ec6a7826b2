"""Test: accuracy of a trained network on the test split.

    python -m torch.distributed.launch --nproc_per_node=8 test.py --cfg configs/test.yaml

RESUME_PATH is a checkpoint, or the run folder of retrain.py. A checkpoint of retrain.py knows its own architecture; for
a file of weights only, MODEL_SELECTION (or INPUT_ARCH) says what it is.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the slow imports: Ctrl-C is quiet from the start
    from runtime.interruption import handle_signals

    handle_signals()

import sys
import time
from collections.abc import Mapping
from typing import Any

from configs.errors import CheckpointError, ConfigError
from configs.loading import parse_arguments
from configs.schema import Config
from data.loading import open_images, read_shape
from runtime.checkpoint import load_file
from runtime.compilation import compile_in_place
from runtime.context import Runtime, start
from runtime.environment import describe_command
from runtime.files import write_json_atomic
from runtime.progress import track
from runtime.scripts import run
from supernet.catalog import Selection, select
from supernet.evaluation import Evaluation, evaluate
from supernet.weights import find_weights, load_weights, network_weights, stored_selection


def main() -> None:
    """Load, evaluate, report."""
    config = parse_arguments("test", sys.argv[1:])
    with start(config, "test") as runtime:
        if not config.resume_path:
            raise ConfigError("RESUME_PATH is empty: name the checkpoint to test, or the run folder of retrain.py")
        path = find_weights(config.resume_path)
        state = load_file(path)
        weights = network_weights(state, path, config.test.weights)
        selection = choose_selection(config, state)
        selection = selection.adapted(**read_shape(config.data, selection.space.resolution))
        network = selection.space.build_network(selection.architecture)
        load_weights(network, weights.tensors, path)
        images = open_images(config, selection.space.resolution, runtime)
        runtime.describe(config)
        runtime.precision.convert(network.to(runtime.device, memory_format=runtime.memory_format))
        if config.runtime.compile:
            compile_in_place(network, runtime.device)

        batch_size = config.train.evaluation_batch_size
        loader = images.evaluation("test", batch_size)
        shown = track(loader, -(-loader.count // batch_size), "testing", "batches", runtime.world.is_main)
        started = time.monotonic()
        with runtime.precision.autocast():
            evaluation = evaluate(network, shown, runtime.world)
        seconds = time.monotonic() - started
        report(config, runtime, selection, weights.kind, evaluation, seconds)


def choose_selection(config: Config, state: Mapping[str, Any]) -> Selection:
    """What MODEL_SELECTION or INPUT_ARCH says, else what the checkpoint says of itself.

    Raises:
        CheckpointError: neither says it.
    """
    if config.model_selection != -1 or config.input_arch is not None:
        return select(
            config.model_selection, config.input_arch, config.supernet.space, config.nasbench101, config.nasnet
        )
    stored = stored_selection(state, config.resume_path)
    if stored is None:
        raise CheckpointError(
            f"{config.resume_path} does not say which network it is: "
            "set MODEL_SELECTION, or INPUT_ARCH and SUPERNET.SPACE"
        )
    return stored


def report(
    config: Config, runtime: Runtime, selection: Selection, weights: str, evaluation: Evaluation, seconds: float
) -> None:
    """The figures in words and in SAVE_PATH/result.json."""
    cost = selection.space.cost(selection.architecture)
    rate = evaluation.images / seconds
    result = {
        "selection": selection.name,
        "checkpoint": config.resume_path,
        "weights": weights,
        "resolution": selection.space.resolution,
        "macs": cost.macs,
        "params": cost.params,
        "test": {**evaluation.to_json(), "images_per_second": round(rate, 1)},
        "seconds": round(seconds, 1),
        "command": describe_command(),
    }
    if runtime.world.is_main:
        write_json_atomic(runtime.folder / "result.json", result)
    runtime.log(f"{selection.name}: {cost.macs / 1e6:.2f} M MACs, {cost.params:,} parameters")
    runtime.log(
        f"test ({weights} weights): top-1 {evaluation.top1:.2f} %, top-5 {evaluation.top5:.2f} %, "
        f"loss {evaluation.loss:.4f}, {evaluation.images} images, {rate:.0f} images/s"
    )


if __name__ == "__main__":
    run(main)
