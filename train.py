"""Search: train one weight-sharing supernet inside a FLOPs window, then pick its best sub-networks.

    python -m torch.distributed.launch --nproc_per_node=8 train.py --cfg configs/train.yaml

Weights see the train split, board and picker scores the search split, nothing the test split. The result is
SAVE_PATH/pick.json, ranked, which retrain.py takes as INPUT_ARCH.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the slow imports: Ctrl-C is quiet from the start
    from runtime.interruption import handle_signals

    handle_signals()

import math
import sys
from functools import partial

from configs.loading import parse_arguments
from configs.schema import Config
from data.loading import Images, open_images, read_shape
from runtime.context import Runtime, start
from runtime.progress import track
from runtime.scripts import run
from runtime.seeds import make_generator
from search.journal import SearchJournal
from search.objective import SupernetObjective
from search.pickers import build_picker, check_picker, score_all
from search.prior import OperationPrior
from search.strategies import build_strategy, check_strategy
from search.training import SupernetTraining
from search.window import describe_window, open_window
from supernet.catalog import build_shared_space
from supernet.networks.supernets import Supernet
from supernet.space import SharedSpace, check_encoding
from supernet.window_costed import SearchWindow


def main() -> None:
    """Train, then pick."""
    config = parse_arguments("train", sys.argv[1:])
    with start(config, "train") as runtime:
        space, window, prior = open_space(config, runtime)
        images = open_images(config, space.resolution, runtime)
        loader = images.training(
            config.train.batch_size,
            steps_per_epoch=config.train.steps_per_epoch,
            across_epochs=config.train.across_epochs,
        )

        supernet = space.build_supernet(config.supernet.encoding, make_generator(config.seed, "supernet"))
        supernet.to(runtime.device, memory_format=runtime.memory_format)  # type: ignore[call-overload]
        measure = partial(build_objective, config, runtime, space, images, supernet)
        board_objective = measure(config.search.board.recalibration_images, config.search.board.images)
        strategy = build_strategy(
            config.search, supernet, board_objective, window, config.train, config.seed, runtime.world
        )
        training = SupernetTraining(config.train, supernet, strategy, runtime.precision, runtime.world, config.seed)
        journal = SearchJournal(config, runtime, space, training, prior, loader.steps)
        resumed = journal.resume()

        for epoch in range(resumed.epoch, config.train.epochs):
            paths = window.sample(make_generator(config.seed, "paths", epoch), math.ceil(loader.steps), prior.weights)
            for position, (pixels, labels) in journal.walk(loader, epoch, resumed):
                loss = training.step(pixels, labels, paths, position)
                journal.after_step(position, loss, paths)
            strategy.end_epoch()
            prior.follow(strategy.prioritized)
            journal.after_epoch(epoch)

        objective = measure(config.picker.recalibration_images, config.picker.images)
        picker = build_picker(config.picker, window, config.seed, strategy.prioritized)
        picker.load_state_dict(journal.picker_state)
        scores = score_all(picker, objective, journal.after_generation)
        done = len(picker.scores)
        for _ in track(scores, picker.total, "picking", "architectures", runtime.world.is_main, completed=done):
            pass
        journal.write_pick(window, picker)


def open_space(config: Config, runtime: Runtime) -> tuple[SharedSpace, SearchWindow, OperationPrior]:
    """The search space, fitted to the data set, its architectures in the FLOPs window, and what training prefers."""
    space = build_shared_space(config.supernet.space, config.surroundings)
    space = space.adapted(**read_shape(config.data, space.resolution))
    window = open_window(config, space)
    space = space.at_resolution(max(window.resolutions))
    prior = OperationPrior(config.search, space)
    window.sample(make_generator(config.seed, "prior"), 1, prior.weights)  # refuses a prior that leaves none
    runtime.log(describe_window(window, space))
    check_strategy(config.search, space)
    check_encoding(space, config.supernet.encoding)
    check_picker(config.picker, window, config.search.strategy)
    return space, window, prior


def build_objective(
    config: Config,
    runtime: Runtime,
    space: SharedSpace,
    images: Images,
    supernet: Supernet,
    recalibration_images: int,
    held_out_images: int | None,
) -> SupernetObjective:
    """Accuracy on (some of) the search split with batch norm recalibrated on some train images."""
    batches = partial(images.evaluation, batch_size=config.train.evaluation_batch_size, shard=False, keep=True)
    recalibration = batches("train", limit=recalibration_images)
    held_out = batches("search", limit=held_out_images)
    world, precision, abreast = runtime.world, runtime.precision, config.picker.abreast
    return SupernetObjective(space, supernet, recalibration, held_out, world, precision, abreast)


if __name__ == "__main__":
    run(main)
