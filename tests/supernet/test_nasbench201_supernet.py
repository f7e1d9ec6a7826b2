"""The supernet of NAS-Bench-201's cells: shared edges, extraction, cells abreast, and its window."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from configs.errors import ConfigError, SpaceError, WindowError
from configs.schema import NasBench201
from runtime.world import World
from supernet.blocks.abreast import Abreast
from supernet.catalog import build_layered_space, build_shared_space
from supernet.evaluation import evaluate, evaluate_abreast, recalibrate
from supernet.networks import nasbench201_abreast
from supernet.networks.nasbench201_supernet import CellSupernet
from supernet.spaces.nasbench201.cell import COUNT, Cell, all_cells, parse_cell
from supernet.spaces.nasbench201.costs import NasBench201Description
from supernet.spaces.nasbench201.space import NasBench201Space
from supernet.window_costed import CostedWindow

SPACE = NasBench201Space(NasBench201Description(stem_channels=4, num_cells=1, resolution=9, classes=3))
NOTHING = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
CUT = "|{}~0|+|nor_conv_1x1~0|{}~1|+|avg_pool_3x3~0|none~1|none~2|"  # two edges lead nowhere
CELLS = [
    *(all_cells()[index] for index in (0, 11, 11, 284, 5_000)),
    *(parse_cell(text) for text in (NOTHING, CUT.format("none", "nor_conv_3x3"), CUT.format("nor_conv_3x3", "none"))),
    Cell((3,) * 6),
    Cell((1,) * 6),
]


@pytest.fixture(scope="module")
def supernet() -> CellSupernet:
    return SPACE.build_supernet("separate", torch.Generator().manual_seed(1)).train()


def batches(count: int, seed: int = 0, size: int = 6) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size, 3, 9, 9, generator=generator) for _ in range(count)]


def test_each_edge_holds_each_operation_once(supernet: CellSupernet) -> None:
    """All that cells do not share is their edges': a convolution 1x1 and 3x3, each with its batch norm."""
    shared = SPACE.cost(parse_cell(NOTHING)).params
    edges = sum(6 * ((1 + 9) * channels**2 + 2 * 2 * channels) for channels in (4, 8, 16))
    assert sum(parameter.numel() for parameter in supernet.parameters()) == shared + edges


@pytest.mark.parametrize("training", [True, False])
def test_extraction_computes_what_the_path_computes(supernet: CellSupernet, training: bool) -> None:
    supernet.train(training)
    (images,) = batches(1)
    for cell in CELLS:
        assert torch.equal(SPACE.extract(supernet, cell)(images), supernet(images, cell))
    supernet.train()


def test_only_the_path_has_gradients(supernet: CellSupernet) -> None:
    cell = all_cells()[11]
    supernet.zero_grad(set_to_none=True)
    supernet(*batches(1), cell).sum().backward()
    moved = [name for name, parameter in supernet.named_parameters() if parameter.grad is not None]
    edges = {name.split(".edges.")[1][:3] for name in moved if ".edges." in name}
    assert edges == {f"{edge}.{operation}" for edge, operation in enumerate(cell.operations) if operation in (2, 3)}
    count = sum(parameter.numel() for name, parameter in supernet.named_parameters() if name in moved)
    assert count == SPACE.cost(cell).params
    supernet.zero_grad(set_to_none=True)


@pytest.mark.parametrize("together", [False, True], ids=["one after another", "one batch"])
def test_cells_abreast_are_their_plain_networks(
    supernet: CellSupernet, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recalibrated on batches of different sizes: the logits, the accuracies, and the supernet as it was."""
    if together:  # as on an accelerator
        forced = lambda module, count, device: Abreast(module, count, torch.device("cuda"))  # noqa: E731
        monkeypatch.setattr(nasbench201_abreast, "Abreast", forced)
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    train, (images,) = [*batches(2), *batches(1, 1, size=3)], batches(1, 2, size=40)
    labels = torch.arange(40) % 3
    network = recalibrate(supernet.abreast(CELLS), train)
    plain = [recalibrate(SPACE.extract(supernet, cell), train) for cell in CELLS]
    with torch.no_grad():
        expected = torch.stack([one(images) for one in plain], 1)
        torch.testing.assert_close(network(images), expected, rtol=0.0, atol=1e-5)
    held_out = [(images, labels), (images[:7], labels[:7])]
    tops = [evaluate(one, held_out, World()).top1 for one in plain]
    assert evaluate_abreast(network, held_out) == pytest.approx(tops, abs=1e-9)
    assert len(set(tops)) > 3
    assert all(torch.equal(value, before[name]) for name, value in supernet.state_dict().items())
    assert all(module.training for module in supernet.modules())


def test_what_cells_have_in_common_is_computed_once(supernet: CellSupernet) -> None:
    """The first cell's operations on the stem's images, whole networks that are one, and nothing that leads nowhere."""

    def convolutions(cells: list[Cell], place: int) -> int:
        parts = supernet.abreast(cells).parts
        return sum(isinstance(module, nn.Conv2d) for module in parts[place].modules())

    first, second = 1, 3
    alike = [Cell((3, 0, 0, 2, 2, operation)) for operation in (0, 1, 4)]  # three convolutions in all of them
    assert convolutions(alike, first) == 3
    assert convolutions(alike, second) == 3 * 3
    assert convolutions([Cell((3,) * 6), Cell((3,) * 5 + (2,))], first) == 7
    cut = [parse_cell(CUT.format(*names)) for names in (("none", "none"), ("nor_conv_3x3", "none"))]
    assert supernet.abreast(cut).held == [0, 0]
    assert convolutions(cut, second) == 0


def test_the_window_is_what_counting_finds() -> None:
    costs = {cell: SPACE.cost(cell).macs for cell in all_cells()}
    minimum, maximum = sorted(costs.values())[3_000], sorted(costs.values())[9_000]
    window = SPACE.window(minimum, maximum)
    members = {cell for cell, cost in costs.items() if minimum <= cost <= maximum}
    assert set(window) == members
    assert list(window) == sorted(members)
    assert 0 < window.count == len(members) < COUNT
    assert (window.minimum, window.maximum, window.resolutions) == (minimum, maximum, (9,))
    generator = torch.Generator().manual_seed(0)
    parts = [window.sample_distinct(torch.Generator().manual_seed(5), 100, rank, 3) for rank in range(3)]
    assert len({cell for part in parts for cell in part} & members) == 100
    prior = [[{0: 0.0, 1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0} for _ in range(6)]]
    drawn = window.sample(generator, 50, prior)
    assert members.issuperset(drawn)
    assert not any(0 in cell.operations for cell in drawn)
    shares = window.marginals()
    assert shares.operations[0][5][3] == Fraction(sum(cell.operations[5] == 3 for cell in members), len(members))
    assert SPACE.window(0, 10**9).count == SPACE.count == COUNT
    child = SPACE.mutate(CELLS[0], 0.0, generator)
    assert sum(one != other for one, other in zip(child.operations, CELLS[0].operations)) == 1
    mixed = SPACE.crossover(Cell((1,) * 6), Cell((3,) * 6), generator)
    assert set(mixed.operations) <= {1, 3}
    with pytest.raises(SpaceError, match=r"leave SUPERNET\.RESOLUTIONS out"):
        SPACE.window_of(minimum, maximum, [32])


def test_what_no_window_holds_is_refused() -> None:
    space = build_shared_space("nasbench201", {"nasbench201": NasBench201()})
    with pytest.raises(WindowError, match=r"feasible costs go from 7\.78305 to 220\.11969, the nearest are 220\.11969"):
        space.window(300_000_000, 400_000_000)
    window = space.window(220_000_000, 300_000_000)
    assert isinstance(window, CostedWindow)
    assert [str(cell) for cell in window] == [str(Cell((3,) * 6))]
    only_none = [[{0: 1.0, 1: 0.0, 2: 0.0, 3: 0.0, 4: 0.0}] * 6]
    with pytest.raises(WindowError, match="the prior over operations leaves no architecture"):
        window.sample(torch.Generator(), 1, only_none)
    with pytest.raises(WindowError, match="2 different architectures were asked"):
        window.sample_distinct(torch.Generator(), 2)


def test_what_shares_no_such_weights_is_refused() -> None:
    with pytest.raises(SpaceError, match=r"nasbench201 shares weights only as SUPERNET.ENCODING=separate, not superk"):
        SPACE.build_supernet("superkernel")
    with pytest.raises(ConfigError, match=r"NASBENCH201.NUM_CELLS=1 is about .*, and SUPERNET.SPACE=fashion is none"):
        build_shared_space("fashion", {"nasbench201": NasBench201(NUM_CELLS=1)})
    with pytest.raises(SpaceError, match="nasbench201 has cells: give a space of layers"):
        build_layered_space("nasbench201")
    for name in ("nasbench101", "nasnet"):
        with pytest.raises(SpaceError, match=r"so there is no supernet"):
            build_shared_space(name)
    space = build_shared_space("nasbench201", {"nasbench201": NasBench201(STEM_CHANNELS=4, NUM_CELLS=1)})
    assert space.build_supernet("separate")(torch.zeros(2, 3, 32, 32), Cell((3,) * 6)).shape == (2, 10)
