"""Gated paths compute the architectures that they stand for; costs, margins and refusals are those of the decisions."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from path_samples import batch, generator, paths, shared_supernet, small_space
from torch import Tensor

from configs.errors import SpaceError
from supernet.architecture import Architecture
from supernet.blocks.gates import Gates, indicate, nest
from supernet.expected_cost import ExpectedCost
from supernet.nested import nested_layers
from supernet.networks.decisions import Decisions
from supernet.networks.path_supernet import PathSupernet, SeparateLayer
from supernet.spaces.mbconv import MBConvSpace
from supernet.spaces.reading import read_space

NESTED = ["spnas", "cream", "fashion"]
OPTIONAL = """\
name: optional
resolution: 16
classes: 5
stem: {channels: 8}
operations: [{kernel: 5, expansion: 2, squeeze_excite: 0.25}, {block: skip}]
stages: [{channels: 8, depth: 3}]
head: {channels: 16}
"""


@torch.no_grad()
def force(decisions: Decisions, architecture: Architecture) -> None:
    """Thresholds far from the norms, so that the decisions are an architecture's."""
    values = []
    for layer in decisions.layers:
        chosen = architecture.stages[layer.stage]
        index = chosen[layer.place] if layer.place < len(chosen) else None
        kept = index is not None and index != layer.skip
        levels = next(
            ((k, e) for k, row in enumerate(layer.operations) for e, one in enumerate(row) if one == index), (0, 0)
        )
        larger, optional, wider = layer.decisions
        on = [level < levels[0] for level in range(larger)] + [kept] * optional
        values += [-9.0 if one else 9.0 for one in on + [level < levels[1] for level in range(wider)]]
    decisions.thresholds.copy_(torch.tensor(values))


def random_thresholds(decisions: Decisions, seed: int) -> None:
    with torch.no_grad():
        decisions.thresholds.copy_(0.6 * torch.rand(decisions.thresholds.shape, generator=generator(seed)))


@pytest.fixture(scope="module")
def optional(tmp_path_factory: pytest.TempPathFactory) -> MBConvSpace:
    """One operation or none."""
    path = tmp_path_factory.mktemp("space") / "optional.yaml"
    path.write_text(OPTIONAL)
    return read_space(path)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", NESTED)
def test_a_gated_path_is_its_architecture(name: str, training: bool) -> None:
    """And what is read out is what the forward pass ran."""
    space, supernet = small_space(name), shared_supernet(name, "superkernel").double().train(training)
    decisions, images = Decisions(space, supernet), batch()[0].double()
    for architecture in paths(name, 2, seed=3):
        force(decisions, architecture)
        decided = decisions()
        assert decisions.read_out(decided) == architecture
        with torch.no_grad():
            logits = supernet(images, decisions.path(decided))
            torch.testing.assert_close(logits, supernet(images, architecture))
            torch.testing.assert_close(logits, space.extract(supernet, architecture)(images))
    supernet.float()


@pytest.mark.parametrize("operation", range(5))
def test_each_operation_of_single_path_nas(operation: int) -> None:
    """In all layers that offer it: k3 e3, k3 e6, k5 e3, k5 e6, skip; in fp32 as in training."""
    space, supernet = small_space("spnas"), shared_supernet("spnas", "superkernel").train()
    first = 0 if operation == 4 else operation
    architecture = space.parse([[0], *[[first, *[operation] * 3]] * 5, [0]])
    decisions = Decisions(space, supernet)
    force(decisions, architecture)
    decided, images = decisions(), batch()[0]
    assert decisions.read_out(decided) == architecture
    with torch.no_grad():
        gated, plain = supernet(images, decisions.path(decided)), supernet(images, architecture)
        torch.testing.assert_close(gated, plain)
        torch.testing.assert_close(gated, space.extract(supernet, architecture)(images))


def test_skip_is_the_identity(optional: MBConvSpace) -> None:
    """To the bit, in training, in a superkernel and in a layer of one operation."""
    off = Gates(torch.ones(2), torch.ones(2), torch.tensor(0.0))
    images = torch.randn(4, 24, 8, 8, generator=generator())
    layer = shared_supernet("spnas", "superkernel").train().layer(1, 1)
    assert torch.equal(layer(images, off), images)
    single = optional.build_supernet("superkernel").train().layer(0, 1)
    assert isinstance(single, SeparateLayer)
    images = images[:, :8]
    assert torch.equal(single(images, Gates(torch.ones(1), torch.ones(1), torch.tensor(0.0))), images)
    one = Gates(torch.ones(1), torch.ones(1), torch.tensor(1.0))
    with torch.no_grad():
        assert torch.equal(single(images, one), single(images, 0))


def test_masking_leaves_no_trace_in_batch_norm() -> None:
    """After a step on a gated path the statistics of its channels are those of a step on the architecture."""
    space = small_space("spnas")
    architecture = space.parse([[0], *[[0, 2, 1, 0]] * 5, [0]])
    kept: list[dict[str, Tensor]] = []
    for gated in (False, True):
        supernet = shared_supernet("spnas", "superkernel").train()
        decisions = Decisions(space, supernet)
        force(decisions, architecture)
        with torch.no_grad():
            supernet(batch()[0], decisions.path(decisions()) if gated else architecture)
        state = supernet.path_state_dict(architecture)
        kept.append({name: value.detach().clone() for name, value in state.items()})
    for name, value in kept[0].items():
        torch.testing.assert_close(kept[1][name], value, msg=name)


def gate_gradients(space: MBConvSpace, supernet: PathSupernet, architecture: Architecture) -> list[list[float]]:
    decisions = Decisions(space, supernet)
    force(decisions, architecture)
    with torch.no_grad():
        decisions.thresholds.mul_(0.1)  # where the sigmoid has a slope
    supernet(batch()[0], decisions.path(decisions())).square().sum().backward()
    assert decisions.thresholds.grad is not None
    return [part.tolist() for part in decisions.thresholds.grad.split([sum(one.decisions) for one in decisions.layers])]


def test_what_is_off_still_learns_unless_what_holds_it_is_off() -> None:
    """Decisions of a layer: larger kernel, keep, larger expansion."""
    space, supernet = small_space("spnas"), shared_supernet("spnas", "superkernel").train()
    gradients = gate_gradients(space, supernet, space.parse([[0], *[[0, 0, 4, 3]] * 5, [0]]))
    assert gradients[0] == gradients[-1] == []
    for stage in range(5):
        first, small, skipped, large = gradients[1 + 4 * stage : 5 + 4 * stage]
        assert [len(first), len(small)] == [2, 3]
        assert all(first), "the first layer of a stage has nothing to keep"
        assert all(small), "off, and not nested in anything that is off"
        assert skipped[1], "what keeps the layer, and by its norm the kernel"
        assert skipped[2] == 0.0
        assert all(large)


@given(st.floats(-4, 4, allow_subnormal=False))
@settings(deadline=None, max_examples=30)
def test_indicators_are_hard_forward_and_soft_backward(margin: float) -> None:
    value = torch.tensor(margin, dtype=torch.float64, requires_grad=True)
    indicator = indicate(value)
    indicator.backward()
    soft = torch.sigmoid(value.detach())
    assert indicator.item() == float(margin >= 0)
    torch.testing.assert_close(value.grad, soft * (1 - soft))


def hard_gates(space: MBConvSpace, architecture: Architecture) -> list[Gates]:
    decisions = Decisions(space, shared_supernet(space.name, "superkernel"))
    force(decisions, architecture)
    return [Gates(*(one if one is None else one.detach().double() for one in decided.gates)) for decided in decisions()]


@given(st.sampled_from(NESTED), st.integers(0, 10**6))
@settings(deadline=None, max_examples=30)
def test_hard_gates_cost_exactly_what_the_architecture_does(name: str, seed: int) -> None:
    space, (architecture,) = small_space(name), paths(name, 1, seed)
    cost = ExpectedCost.of_macs(space, torch.zeros((), dtype=torch.float64))(hard_gates(space, architecture))
    assert round(cost.item() * 1e6, 3) == space.cost(architecture).macs


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3))
@settings(deadline=None, max_examples=30)
def test_soft_gates_cost_what_the_published_formula_says(values: list[float]) -> None:
    """R_c = d50 (R[5, 3] + d100 (R[5, 6] - R[5, 3])), rho R_c + (1 - rho) R_c d_5x5, for MACs."""
    larger, keep, wider = torch.tensor(values, dtype=torch.float64)
    space = small_space("spnas")
    costs = {index: cost.macs for index, cost in space.cost_table().stages[2].layers[1].items()}
    layer = next(one for one in nested_layers(space) if (one.stage, one.place) == (2, 1))
    expected = ExpectedCost(0.0, [(layer, costs)], 0.0, larger)([Gates(nest(larger[None]), nest(wider[None]), keep)])
    whole = keep * (costs[2] + wider * (costs[3] - costs[2]))
    rho = costs[1] / costs[3]
    torch.testing.assert_close(expected, rho * whole + (1 - rho) * whole * larger)


@given(st.sampled_from(NESTED), st.integers(0, 10**6))
@settings(deadline=None, max_examples=20)
def test_the_nearest_architecture_of_everything_is_what_is_read_out(name: str, seed: int) -> None:
    space = small_space(name)
    decisions = Decisions(space, shared_supernet(name, "superkernel"))
    random_thresholds(decisions, seed)
    with torch.no_grad():
        decided = decisions()
        best = space.window(0, 10**12).top_k(decisions.scores(decided), 1)
        assert best[0][1] == decisions.read_out(decided)


def test_distances_are_the_margins_that_change_their_sign(optional: MBConvSpace) -> None:
    """Against all choices of three layers, each kept or not."""
    decisions = Decisions(optional, optional.build_supernet("superkernel"))
    random_thresholds(decisions, 4)
    with torch.no_grad():
        decided = decisions()
        ranked = optional.window(0, 10**12).top_k(decisions.scores(decided), 8)
    margins = torch.cat([one.margins for one in decided]).tolist()
    far = {
        chosen: sum(abs(m) for m, one in zip(margins, chosen) if (m >= 0) != (one == 0))
        for chosen in product((0, 1), repeat=3)
    }
    assert [one.stages[0] for _, one in ranked] == sorted(far, key=lambda chosen: far[chosen])
    top = ranked[0][0]
    assert [top - score for score, _ in ranked] == pytest.approx(sorted(far.values()), abs=1e-6)


@pytest.mark.parametrize(
    ("operations", "depth", "message"),
    [
        ("[{expansion: 3}, {block: separable}]", "2", "block 0 of stage 1 of mixed offers other blocks"),
        ("[{expansion: 3}, {kernel: 5, expansion: 6}]", "2", "does not offer each kernel with each expansion once"),
        ("[{expansion: 3}, {expansion: 3}]", "2", "does not offer each kernel with each expansion once"),
        ("[{expansion: 3}, {expansion: 6, squeeze_excite: 0.25}]", "2", "mixes activations or squeeze-and-excite"),
        ("[{expansion: 3}, {expansion: 6, activation: swish}]", "2", "mixes activations or squeeze-and-excite"),
        ("[{expansion: 3}, {block: skip, project: true}]", "2", "offers other blocks"),
        ("[{expansion: 3}, {block: skip}]", "[1, 2]", "block 1 of stage 1 of mixed can be left out in two ways"),
        ("[{block: separable}]", "[1, 2]", "block 1 of stage 1 of mixed offers other blocks"),
    ],
)
def test_a_layer_that_is_not_nested_is_named(tmp_path: Path, operations: str, depth: str, message: str) -> None:
    text = OPTIONAL.replace("optional", "mixed").replace(
        "[{channels: 8, depth: 3}]",
        f"[{{channels: 8, operations: [{{block: separable}}]}}, "
        f"{{channels: 16, stride: 2, depth: {depth}, operations: {operations}}}]",
    )
    (tmp_path / "mixed.yaml").write_text(text)
    with pytest.raises(SpaceError, match=message):
        nested_layers(read_space(tmp_path / "mixed.yaml"))
