"""The network of a cell of NAS-Bench-201: published costs, what a node adds, names of weights, how it is selected."""

from __future__ import annotations

import bz2
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from configs.errors import CheckpointError, ConfigError, SpaceError
from configs.schema import NasBench201
from supernet.catalog import build_network, build_space, select
from supernet.networks.nasbench201 import CellModule, TinyNetwork
from supernet.spaces.nasbench201.cell import COUNT, Cell, all_cells, parse_cell
from supernet.spaces.nasbench201.costs import NasBench201Description, cell_cost
from supernet.spaces.nasbench201.space import NasBench201Space
from supernet.weights import describe_selection, stored_selection

ELEVEN = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|none~0|nor_conv_3x3~1|avg_pool_3x3~2|"
SMALL = NasBench201Description(stem_channels=4, num_cells=2, resolution=9, classes=3)
SIZES = {"cifar10-valid": (10, 32), "cifar10": (10, 32), "cifar100": (100, 32), "ImageNet16-120": (120, 16)}


@pytest.mark.parametrize("index", [0, 11, 284])
def test_costs_are_those_of_the_published_records(index: int, shared_file: Callable[[str], Path]) -> None:
    """Parameters and FLOPs in millions, of every training of the cell."""
    with bz2.open(shared_file(f"data/nats-tss-sample/{index:06d}.pickle.pbz2")) as file:
        record = pickle.load(file)
    for setting in ("12", "200"):
        cell = parse_cell(record[setting]["arch_str"])
        assert cell.index == index
        assert {dataset for dataset, _ in record[setting]["all_results"]} == SIZES.keys()
        for (dataset, _), published in record[setting]["all_results"].items():
            classes, resolution = SIZES[dataset]
            cost = cell_cost(NasBench201Description(classes=classes, resolution=resolution), cell)
            assert (cost.params, cost.macs) == (round(published["params"] * 1e6), round(published["flop"] * 1e6))


def test_all_cells_have_28_costs_in_the_published_range() -> None:
    space = NasBench201Space()
    costs = {space.cost(cell) for cell in all_cells()}
    assert len(costs) == 28
    assert (min(cost.params for cost in costs), max(cost.params for cost in costs)) == (73_306, 1_531_546)
    assert (min(cost.macs for cost in costs), max(cost.macs for cost in costs)) == (7_783_050, 220_119_690)


@pytest.mark.parametrize("index", [11, 284, 5_000])
def test_costs_are_those_of_the_layers(index: int) -> None:
    network = TinyNetwork(SMALL, all_cells()[index].to_nodes()).eval()
    counted = SMALL.classes  # the biases

    def count(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal counted
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        counted += weight.numel() * output[0, 0].numel()

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    assert network(torch.zeros(1, 3, 9, 9)).shape == (1, 3)
    cost = cell_cost(SMALL, all_cells()[index])
    assert (counted, sum(parameter.numel() for parameter in network.parameters())) == (cost.macs, cost.params)


def test_a_node_is_the_sum_of_what_reaches_it() -> None:
    names = "|nor_conv_1x1~0|+|skip_connect~0|avg_pool_3x3~1|+|none~0|nor_conv_3x3~1|skip_connect~2|"
    cell = CellModule(parse_cell(names).to_nodes(), 4).eval()
    images = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    one = cell.layers[0](images)
    shares = nn.functional.avg_pool2d(torch.ones(1, 1, 6, 6), 3, 1, 1)  # of nine: padding is not counted
    two = images + nn.functional.avg_pool2d(one, 3, 1, 1) / shares
    torch.testing.assert_close(cell(images), cell.layers[4](one) + two)


def test_weights_have_the_published_names_and_none_is_off_the_path() -> None:
    network = build_network("nasbench201/11", num_classes=7)
    weights = network.state_dict()
    assert {name.split(".")[0] for name in weights} == {"stem", "cells", "lastact", "classifier"}
    expected = {
        "stem.0.weight": (16, 3, 3, 3),
        "cells.0.layers.0.op.1.weight": (16, 16, 3, 3),
        "cells.4.layers.4.op.2.running_var": (16,),
        "cells.5.conv_a.op.1.weight": (32, 16, 3, 3),
        "cells.5.downsample.1.weight": (32, 16, 1, 1),
        "cells.11.conv_b.op.2.bias": (64,),
        "lastact.0.weight": (64,),
        "classifier.weight": (7, 64),
    }
    assert {name: tuple(weights[name].shape) for name in expected} == expected
    cut = parse_cell("|nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|none~1|avg_pool_3x3~2|")  # behind node 1
    network = NasBench201Space(SMALL).build_network(cut)
    network(torch.randn(2, 3, 9, 9)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_initial_weights_are_torchs_and_the_generators() -> None:
    space = NasBench201Space()
    network, again = (space.build_network(all_cells()[11], torch.Generator().manual_seed(1)) for _ in range(2))
    weight = network.state_dict()["cells.16.layers.0.op.1.weight"]
    bound = (64 * 9) ** -0.5
    assert 0.999 * bound < weight.abs().max().item() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)
    assert all(torch.equal(*pair) for pair in zip(network.state_dict().values(), again.state_dict().values()))
    assert network.classifier.bias.abs().max() > 0


def test_a_cell_is_selected_by_string_or_index_and_stored_with_its_space() -> None:
    cell = parse_cell(ELEVEN)
    around = {"nasbench201": NasBench201(STEM_CHANNELS=4, NUM_CELLS=1)}
    for selection in (
        select(f"nasbench201/{ELEVEN}", surroundings=around),
        select("nasbench201/11", surroundings=around),
        select(-1, ELEVEN, "nasbench201", around),
        select(-1, 11, "nasbench201", around),
    ):
        assert (selection.name, selection.architecture) == (f"nasbench201/{ELEVEN}", cell)
        assert selection.space.parse(cell.to_list()) == cell
    selection = selection.adapted(channels=1, classes=4, resolution=10)
    stored = stored_selection({"selection": describe_selection(selection)}, "file")
    assert stored is not None
    assert (stored.name, stored.architecture) == (selection.name, cell)
    assert stored.space.description == selection.space.description
    assert stored.space.build_network(cell)(torch.zeros(2, 1, 10, 10)).shape == (2, 4)
    broken = {**describe_selection(selection), "description": {"kind": "nasbench201", "num_cells": 0}}
    with pytest.raises(CheckpointError, match="says of itself what no network is"):
        stored_selection({"selection": broken}, "file")


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"NASBENCH201.NUM_CELLS=1 is about .* of nasbench201, and 287 is none"):
        select(287, surroundings={"nasbench201": NasBench201(NUM_CELLS=1)})
    with pytest.raises(SpaceError, match="indices go from 0 to 15624"):
        select(f"nasbench201/{COUNT}")
    with pytest.raises(SpaceError, match="no cell of NAS-Bench-201"):
        select("nasbench201/-1")
    with pytest.raises(ConfigError, match="nasbench201/<architecture string or index>"):
        select("nasbench201/")
    space = build_space("nasbench201")
    with pytest.raises(SpaceError, match="is no cell of space"):
        space.cost("11")
    with pytest.raises(ConfigError, match=r"DROP_PATH=0\.1"):
        build_network("nasbench201/0").set_regularization(0.0, 0.1)


def test_samples_are_uniform() -> None:
    space, generator = NasBench201Space(), torch.Generator().manual_seed(0)
    drawn = [space.sample(generator) for _ in range(2_000)]
    assert all(isinstance(cell, Cell) for cell in drawn)
    counts = torch.bincount(torch.tensor([place for cell in drawn for place in cell.operations]), minlength=5)
    assert ((counts - 2_400).abs() < 200).all(), "4.5 deviations"
