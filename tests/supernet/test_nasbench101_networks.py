"""The network of a cell: channels, parameters, MACs, what a vertex computes; and how it is selected."""

from __future__ import annotations

import pytest
import torch
from nasbench101_samples import GOLDEN, Golden
from torch import nn

from configs.errors import CheckpointError, ConfigError, SpaceError
from configs.schema import NasBench101
from supernet.catalog import build_network, build_shared_space, build_space, select
from supernet.networks.nasbench101 import CellModule, CellNetwork
from supernet.spaces.nasbench101.cell import Cell, parse_rows
from supernet.spaces.nasbench101.costs import NasBench101Description, cell_cost, vertex_channels
from supernet.spaces.nasbench101.model_spec import ModelSpec
from supernet.spaces.nasbench101.space import NasBench101Space
from supernet.weights import describe_selection, stored_selection

DIAMOND = "0110-0001-0001-0000"
SMALL = NasBench101Description(stem_filter_size=6, num_stacks=2, num_modules_per_stack=2, resolution=9, classes=3)


def golden_cell(golden: Golden) -> Cell:
    return ModelSpec(golden.matrix, golden.ops).cell


def test_channels_are_divided_as_published() -> None:
    assert vertex_channels(8, 15, parse_rows(f"{DIAMOND}:conv3x3,conv3x3").matrix) == [8, 8, 7, 15]
    three = parse_rows("01110-00001-00001-00001-00000:conv3x3,conv3x3,conv3x3")
    assert vertex_channels(8, 8, three.matrix) == [8, 3, 3, 2, 8]
    through = parse_rows("01000-00110-00001-00001-00000:conv3x3,conv3x3,conv3x3")
    assert vertex_channels(4, 9, through.matrix) == [4, 5, 5, 4, 9]


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.key[:8])
def test_parameters_are_the_published_ones(golden: Golden) -> None:
    cell = golden_cell(golden)
    with torch.device("meta"):
        network = CellNetwork(NasBench101Description(), cell)
    assert sum(parameter.numel() for parameter in network.parameters()) == golden.params
    assert cell_cost(NasBench101Description(), cell).params == golden.params


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.key[:8])
def test_macs_are_those_that_the_layers_do(golden: Golden) -> None:
    network = CellNetwork(SMALL, golden_cell(golden)).eval()
    counted = 0

    def count(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal counted
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        counted += weight.numel() * output[0, 0].numel()

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    assert network(torch.zeros(1, 3, 9, 9)).shape == (1, 3)
    assert counted == cell_cost(SMALL, golden_cell(golden)).macs


def test_a_vertex_adds_cut_inputs_and_the_output_joins() -> None:
    """1 feeds 2 and 3, which feed the output with 3 + 2 channels; the input feeds 1, 3 and the output."""
    cell = parse_rows("01011-00110-00001-00001-00000:conv1x1,maxpool3x3,conv3x3")
    module = CellModule(cell, 4, 5).eval()
    assert module.channels == [4, 3, 3, 2, 5]
    images = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    first, pool, last = module.operations
    project = module.projections
    one = first(project["1"](images))
    joined = torch.cat([pool(one), last(one[:, :2] + project["3"](images))], 1)
    torch.testing.assert_close(module(images), joined + project["4"](images))


def test_a_cell_of_two_vertices_is_one_projection() -> None:
    module = CellModule(golden_cell(GOLDEN[1]), 4, 8)
    assert len(module.operations) == 0
    images = torch.randn(2, 4, 5, 5)
    assert torch.equal(module.eval()(images), module.projections["1"](images))


def test_the_network_follows_the_order_that_is_asked_for() -> None:
    own = parse_rows(f"{DIAMOND}:maxpool3x3,conv3x3")
    turned = parse_rows(f"{DIAMOND}:conv3x3,maxpool3x3")
    description = NasBench101Description(stem_filter_size=7, num_stacks=1)
    assert own.hash == turned.hash
    assert cell_cost(description, own).params < cell_cost(description, turned).params
    space = NasBench101Space(description)
    assert (space.text(own), space.text(turned)) == (str(own), own.hash)


def test_initial_weights_are_tensorflows() -> None:
    space = NasBench101Space(NasBench101Description(num_stacks=1, stem_filter_size=96))
    network = space.build_network(golden_cell(GOLDEN[2]), torch.Generator().manual_seed(1))
    weight = network.stacks[0][1].operations[0][0].weight
    assert weight.std().item() == pytest.approx((1 / (96 * 9)) ** 0.5, rel=0.01)
    assert weight.abs().max().item() <= 2 * (1 / (96 * 9)) ** 0.5 / 0.8796
    norm = network.stem[1]
    assert (norm.eps, norm.momentum) == (1e-5, 0.003)
    again = space.build_network(golden_cell(GOLDEN[2]), torch.Generator().manual_seed(1))
    assert torch.equal(again.classifier.weight, network.classifier.weight)


def test_a_cell_is_selected_by_rows_or_matrix_and_stored_with_its_space() -> None:
    cell = golden_cell(GOLDEN[3])
    selection = select(f"nasbench101/{cell}").adapted(channels=1, classes=4, resolution=16)
    assert selection.name == f"nasbench101/{GOLDEN[3].key}"
    assert select(-1, str(cell), "nasbench101").architecture == cell == selection.space.parse(cell.to_list())
    stored = stored_selection({"selection": describe_selection(selection)}, "file")
    assert stored is not None
    assert (stored.name, stored.architecture) == (selection.name, cell)
    assert stored.space.description == selection.space.description
    assert stored.space.build_network(cell)(torch.zeros(2, 1, 16, 16)).shape == (2, 4)
    assert build_network(f"nasbench101/{cell}", num_classes=7).classifier.out_features == 7
    with pytest.raises(CheckpointError, match="says of itself what no network is"):
        stored_selection(
            {"selection": {**describe_selection(selection), "description": {"kind": "nasbench101"}, "architecture": 3}},
            "file",
        )


def test_surroundings_are_of_cells_alone() -> None:
    around = {"nasbench101": NasBench101(STEM_FILTER_SIZE=16, NUM_MODULES_PER_STACK=1)}
    cell = golden_cell(GOLDEN[4])
    for form in (cell.to_json(), cell.to_list(), str(cell)):
        selection = select(-1, form, "nasbench101", around)
        assert selection.architecture == cell
        assert selection.space.description.stem_filter_size == 16
        assert len(selection.space.build_network(cell).stacks[0]) == 1
    with pytest.raises(ConfigError, match=r"NUM_MODULES_PER_STACK=1 is about .* and 287 is none: remove it"):
        select(287, None, "cream", around)
    with pytest.raises(SpaceError):
        select(-1, cell.to_json(), "fashion")
    for wrong in ({"matrix": [[0, 1], [0, 0]]}, {"matrix": [[0, 1]], "ops": ["input", "output"]}, [[0], [3]]):
        with pytest.raises(SpaceError):
            select(-1, wrong, "nasbench101")


def test_the_space_is_built_by_name_but_not_searched() -> None:
    assert isinstance(build_space("nasbench101"), NasBench101Space)
    with pytest.raises(SpaceError, match=r"shares no weights between its cells.* train one with retrain.py"):
        build_shared_space("nasbench101")


@pytest.mark.parametrize("wrong", ["zz", "01-00:conv3x3", "0" * 31])
def test_what_is_no_cell_is_refused(wrong: str) -> None:
    with pytest.raises(SpaceError):
        select(f"nasbench101/{wrong}")
    with pytest.raises(ConfigError, match="nasbench101/<hash>"):
        select("nasbench101")


def test_the_space_has_no_supernet_and_no_residual_blocks() -> None:
    space = NasBench101Space(SMALL)
    with pytest.raises(SpaceError, match="shares no weights"):
        space.build_supernet("superkernel")
    network = space.build_network(golden_cell(GOLDEN[1]))
    with pytest.raises(ConfigError, match=r"DROP_PATH=0\.2"):
        network.set_regularization(0.0, 0.2)
    network.set_regularization(1.0, 0.0)
    assert torch.equal(network.train()(torch.randn(2, 3, 9, 9)), network.classifier.bias.expand(2, -1))


def test_samples_are_uniform_over_the_cells() -> None:
    space = NasBench101Space()
    generator = torch.Generator().manual_seed(0)
    drawn = [space.sample(generator) for _ in range(2000)]
    share = sum(cell.vertices == 7 for cell in drawn) / len(drawn)
    assert share == pytest.approx(359_082 / space.count, abs=0.025)
    assert all(space.validate(cell) == cell for cell in drawn[:3])
