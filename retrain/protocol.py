"""Which published way to evaluate a training follows, if any."""

from __future__ import annotations

from configs.schema import Config
from data.loading import Images
from retrain.milestones import Milestones
from retrain.training import NetworkTraining
from retrain.trial import Trial
from runtime.position import StepsPerEpoch
from supernet.catalog import Selection


def open_protocol(
    config: Config, selection: Selection, steps_per_epoch: StepsPerEpoch, images: Images, training: NetworkTraining
) -> Milestones | Trial | None:
    """That of TRAIN.INTERMEDIATE_EVALUATIONS (NAS-Bench-101) or TRAIN.TRIAL (-201); None: the search split only.

    Raises:
        ConfigError, DataError: it does not fit the network or the images.
    """
    if config.train.trial:
        return Trial(config, selection, steps_per_epoch, images, training)
    if config.train.intermediate_evaluations:
        return Milestones(config.train, steps_per_epoch, images, training)
    return None
