"""The cost table against counting on the networks themselves, and against published numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from path_samples import (
    SPACES,
    count_by_hooks,
    generator,
    paths,
)

from configs.errors import ConfigError
from supernet.catalog import build_space, select
from supernet.cost import Cost, format_millions, macs_from_millions

# MODEL_SELECTION: image, params, MACs, state entries
CREAM = {
    14: (64, 2_673_096, 13_188_608, 186),
    43: (96, 4_398_600, 40_655_232, 252),
    114: (160, 4_410_120, 109_623_680, 252),
    287: (224, 6_044_368, 276_262_016, 318),
    481: (224, 7_713_360, 460_398_080, 494),
    604: (224, 9_695_624, 578_698_368, 626),
}


@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=6, deadline=None, phases=[Phase.generate])  # a smaller seed is no simpler network
@given(st.integers(0, 2**32), st.integers(8, 48), st.integers(2, 200), st.integers(1, 4))
def test_the_table_equals_counting_by_hooks(name: str, seed: int, size: int, classes: int, channels: int) -> None:
    space = build_space(name).adapted(channels=channels, classes=classes, resolution=size)
    architecture = space.sample(generator(seed))
    network = space.build_network(architecture)
    for resolution in (size, 3 * size // 2):
        images = torch.zeros(1, channels, resolution, resolution)
        assert space.cost(architecture, resolution) == Cost(*count_by_hooks(network, images))


def test_the_thousand_networks_of_nasbench_macro(shared_file: Callable[[str], Path]) -> None:
    measured = json.loads(shared_file("data/nasbench-macro-dev.json").read_text())
    space = build_space("nasbench_macro")
    published = {digits: Cost(network["flops"], network["params"]) for digits, network in measured.items()}
    assert len(published) == 1000
    assert {digits: space.cost(space.parse(digits)) for digits in published} == published


@pytest.mark.parametrize("selection", CREAM)
def test_cream_as_published(selection: int) -> None:
    resolution, params, macs, entries = CREAM[selection]
    chosen = select(selection)
    assert chosen.space.resolution == resolution
    assert chosen.space.cost(chosen.architecture) == Cost(macs, params)
    network = chosen.space.build_network(chosen.architecture)
    assert len(network.state_dict()) == entries
    assert count_by_hooks(network, torch.zeros(1, 3, resolution, resolution)) == (macs, params)


def test_spnasnet_as_published() -> None:
    chosen = select("spnasnet_100")
    assert chosen.space.cost(chosen.architecture) == Cost(macs=333_467_072, params=4_421_616)


@pytest.mark.parametrize("name", SPACES)
def test_adapting_a_space_moves_its_costs(name: str) -> None:
    space, (path,) = build_space(name), paths(name, 1)
    adapted = space.adapted(channels=space.channels + 1, classes=space.classes + 7, resolution=space.resolution)
    head, stem = space.description.head.channels, space.description.stem
    extra = adapted.cost(path).params - space.cost(path).params
    assert extra == 7 * (head + 1) + stem.channels * stem.kernel**2
    assert adapted.cost(path, 64).params == adapted.cost(path).params
    assert adapted.cost(path, 64).macs < adapted.cost(path, 96).macs


@given(st.integers(0, 10**12))
def test_millions_of_macs_lose_nothing(macs: int) -> None:
    assert macs_from_millions(format_millions(macs)) == macs


@pytest.mark.parametrize(
    ("value", "macs"), [(85.84, 85_840_000), ("1e2", 10**8), (600, 6 * 10**8), (0.000001, 1), (0, 0)]
)
def test_bounds_are_exact(value: float | str, macs: int) -> None:
    assert macs_from_millions(value) == macs


@pytest.mark.parametrize("value", ["abc", "nan", "inf", -1, "0.0000001", ""])
def test_a_bound_that_is_no_number_of_macs_is_refused(value: float | str) -> None:
    with pytest.raises(ConfigError, match="million MACs is not"):
        macs_from_millions(value)
