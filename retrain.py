"""Retrain: train one network, chosen by MODEL_SELECTION or picked by a search.

    python -m torch.distributed.launch --nproc_per_node=8 retrain.py --cfg configs/retrain.yaml

Weights see the train split; the best epoch is chosen on the search split; test.py reads the test split, once. Only
TRAIN.INTERMEDIATE_EVALUATIONS and TRAIN.TRIAL, NAS-Bench-101's and -201's protocols, read it too, and choose nothing.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the slow imports: Ctrl-C is quiet from the start
    from runtime.interruption import handle_signals

    handle_signals()

import sys

from torch import nn

from configs.loading import parse_arguments
from configs.schema import Config
from configs.zoo_arguments import format_arguments, translate
from data.loading import Images, open_images, read_shape
from retrain.journal import RetrainJournal
from retrain.protocol import open_protocol
from retrain.training import NetworkTraining, add_auxiliary_head
from runtime.compilation import compile_in_place
from runtime.context import Runtime, start
from runtime.launching import become_launcher
from runtime.scripts import run
from runtime.seeds import make_generator
from supernet.catalog import Selection, select
from supernet.evaluation import Evaluation, evaluate
from supernet.weights import inherit_network


def main() -> None:
    """Train epoch by epoch, keep the best."""
    asked = translate(sys.argv[1:])
    config = parse_arguments("retrain", asked.arguments, format_arguments())
    if asked.devices:
        open_selection(config)  # refused at once, not by each process
        become_launcher(asked.devices, config.runtime.device, asked.address)
    with start(config, "retrain") as runtime:
        selection = open_selection(config)
        network = build_network(config, runtime, selection)
        images = open_images(config, selection.space.resolution, runtime)
        images_per_step = config.train.batch_size * config.train.accumulation
        loader = images.training(
            images_per_step,
            steps_per_epoch=config.train.steps_per_epoch,
            across_epochs=config.train.across_epochs,
        )
        training = NetworkTraining(
            config.train,
            config.data.augment,
            network,
            images.num_classes,
            runtime.precision,
            runtime.world,
            config.seed,
        )
        protocol = open_protocol(config, selection, loader.steps, images, training)
        journal = RetrainJournal(config, runtime, selection, training, loader.steps, protocol, inputs=images.describe())
        resumed = journal.resume()

        for epoch in range(resumed.epoch, config.train.epochs):
            for position, (pixels, labels) in journal.walk(loader, epoch, resumed):
                journal.after_step(position, training.step(pixels, labels, position))
            if journal.stopped:
                break
            training.synchronize()
            journal.after_epoch(epoch, None if protocol else evaluate_held_out(config, runtime, images, training))
        journal.write_result()


def open_selection(config: Config) -> Selection:
    """What is trained, fitted to the data set."""
    selection = select(config.model_selection, config.input_arch, config.supernet.space, config.surroundings)
    return selection.adapted(**read_shape(config.data, selection.space.resolution))


def build_network(config: Config, runtime: Runtime, selection: Selection) -> nn.Module:
    """The network on the device, fresh or with a supernet's weights."""
    cost = selection.space.cost(selection.architecture)
    runtime.log(f"{selection.name}: {cost.macs / 1e6:.2f} M MACs, {cost.params:,} parameters")
    if config.train.inherit:
        network = inherit_network(config.train.inherit, selection)
    else:
        network = selection.space.build_network(selection.architecture, make_generator(config.seed, "network"))
    network.set_regularization(config.train.dropout, config.train.drop_path)
    add_auxiliary_head(network, config.train.auxiliary_weight, make_generator(config.seed, "auxiliary head"))
    network.to(runtime.device, memory_format=runtime.memory_format)
    if config.runtime.compile:
        compile_in_place(network, runtime.device)
    return network


def evaluate_held_out(config: Config, runtime: Runtime, images: Images, training: NetworkTraining) -> Evaluation | None:
    """Accuracy on the search split; None where no image is held out."""
    if not images.sizes["search"]:
        return None
    with runtime.precision.autocast():
        batches = images.evaluation("search", config.train.evaluation_batch_size)
        return evaluate(training.best_network, batches, runtime.world)


if __name__ == "__main__":
    run(main)
