"""NASNet's genotypes, what they cost, their networks, and how they are selected."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from configs.errors import ConfigError, SpaceError
from configs.loading import load_config
from configs.schema import NasNet
from runtime.seeds import make_generator
from supernet.blocks.nasnet import FactorizedReduction, Pool, Separable
from supernet.catalog import build_network, build_shared_space, build_space, select
from supernet.cost import Cost
from supernet.networks.nasnet import NasNetwork
from supernet.spaces.nasnet.costs import NasNetDescription, auxiliary_place, cell_shapes, network_cost
from supernet.spaces.nasnet.genotype import NASNET_A, OPERATIONS, Genotype, make_genotype, parse_genotype
from supernet.spaces.nasnet.space import NasNetSpace
from supernet.weights import describe_selection, load_weights, stored_selection

SMALL = NasNetDescription(resolution=32, classes=3, stem_filters=5, filters=8, cells=1)
SPACE = NasNetSpace(SMALL)
genotypes = st.integers(0, 2**31).map(lambda seed: SPACE.sample(torch.Generator().manual_seed(seed)))


def count_work(network: nn.Module, images: Tensor) -> Cost:
    """What hooks count in one forward pass: MACs of convolutions and linear layers, and parameters."""
    macs = 0

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal macs
        assert isinstance(layer.weight, Tensor)
        macs += layer.weight.numel() * output[0, 0].numel()

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        network.eval()(images)
    return Cost(macs, sum(parameter.numel() for parameter in network.parameters()))


def test_nasnet_a_mobile_has_the_published_size() -> None:
    chosen = select("NASNet_A_Mobile")
    assert chosen.architecture == NASNET_A
    assert chosen.space.cost(NASNET_A) == Cost(568_234_858, 5_289_978)
    assert chosen.space.cost(NASNET_A, 192).macs < 568_234_858
    network = build_network("nasnet_a_mobile")
    assert sum(parameter.numel() for parameter in network.parameters()) == 5_289_978
    shapes = cell_shapes(chosen.space.description, NASNET_A)
    assert [shape.size for shape in shapes] == [56, 28, *[28] * 4, *[14] * 5, *[7] * 5]
    assert shapes[-1].output.channels == 1056
    assert shapes[auxiliary_place(chosen.space.description)].output.size == 14


@settings(max_examples=4, deadline=None)
@given(genotypes, st.sampled_from([27, 32, 33, 38]), st.sampled_from(["imagenet", "cifar"]))
def test_costs_are_what_the_layers_do(genotype: Genotype, resolution: int, stem: str) -> None:
    description = SMALL.model_copy(update={"resolution": resolution, "stem": stem})
    network = NasNetwork(description, genotype)
    assert count_work(network, torch.zeros(1, 3, resolution, resolution)) == network_cost(description, genotype)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_in_both_cells(operation: str) -> None:
    """Each reads both inputs, of which the first cell's previous has other channels, and one is joined as it is."""
    pairs = [[[0, operation], [1, operation]], *[[[node, operation], [1, "identity"]] for node in range(2, 6)]]
    genotype = make_genotype({**dict.fromkeys(("normal", "reduction"), pairs), "reduction_joined": [0, 1, 6]})
    network = NasNetwork(SMALL, genotype)
    assert count_work(network, torch.zeros(1, 3, 32, 32)) == network_cost(SMALL, genotype)


def test_strided_operations_see_what_tensorflow_pads() -> None:
    """Of four pixels in a row the windows of size 3 begin at the first and third, of five one pixel earlier."""
    row = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    for size, expected in ((4, [3.0, 4.0]), (5, [2.0, 4.0, 5.0])):
        images = row[:size].expand(1, 1, size, size)
        pooled = Pool("max", 1, 1, 3, 2, margin=int(size % 2 == 0))(images)
        assert pooled[0, 0, 0].tolist() == expected
        assert pooled.shape[2] == len(expected)
    average = Pool("avg", 1, 1, 3, 2, margin=1)(row[:4].expand(1, 1, 4, 4))
    assert average[0, 0, 1].tolist() == [2.0, 3.5]
    separable = Separable(1, 1, 3, 2, margin=1)
    separable.depthwise_1.weight.data.copy_(torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 0, 0]]))
    seen: list[Tensor] = []
    separable.norm_1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    separable.pointwise_1.weight.data.fill_(1.0)
    separable.eval()(row[:4].expand(1, 1, 4, 4))
    assert seen[0][0, 0, 0].tolist() == [1.0, 3.0]


@pytest.mark.parametrize("size", [4, 5])
def test_factorized_reduction_takes_the_even_and_the_odd_pixels(size: int) -> None:
    reduction = FactorizedReduction(1, 3).eval()
    for weights in (reduction.even.weight, reduction.odd.weight):
        weights.data.fill_(1.0)
    reduction.norm.eps = 0.0
    images = torch.arange(1.0, size * size + 1).view(1, 1, size, size)
    even, odd, same = reduction(images)[0]
    assert torch.equal(even, images[0, 0, ::2, ::2])
    assert torch.equal(odd[: size // 2, : size // 2], images[0, 0, 1::2, 1::2])
    assert odd.sum() == images[0, 0, 1::2, 1::2].sum()  # what is beyond the image is zero
    assert torch.equal(odd, same)


@given(genotypes)
def test_text_json_and_lists_are_read_back(genotype: Genotype) -> None:
    for written in (genotype, NASNET_A):
        assert SPACE.parse(str(written)) == written
        assert SPACE.parse(json.dumps(written.to_list())) == written
        assert SPACE.validate(SPACE.parse(written.to_list())) == written


@given(genotypes, st.integers(0, 2**31))
def test_a_mutant_differs_in_one_edge(genotype: Genotype, seed: int) -> None:
    mutant = SPACE.validate(SPACE.mutate(genotype, torch.Generator().manual_seed(seed)))
    edges = [
        [edge for cell in (value.normal, value.reduction) for pair in cell.pairs for edge in pair]
        for value in (genotype, mutant)
    ]
    changed = [(old, new) for old, new in zip(*edges) if old != new]
    assert len(changed) == 1
    assert sum(old != new for old, new in zip(*changed[0])) == 1


def test_samples_are_uniform_over_nodes_and_operations() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [SPACE.sample(generator) for _ in range(780)]
    edges = [genotype.reduction.pairs[4][1] for genotype in drawn]
    for values, kinds in (([edge.node for edge in edges], 6), ([edge.operation for edge in edges], 13)):
        expected = len(drawn) / kinds
        chi_squared = sum((values.count(value) - expected) ** 2 / expected for value in set(values))
        assert len(set(values)) == kinds
        assert chi_squared < 35  # 0.999 of 12 degrees of freedom: 32.9
    assert SPACE.count == (2 * 3 * 4 * 5 * 6 * 13**5) ** 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {0: [[0, "sep_conv_9x9"], [1, "identity"]]},
            "normal cell's pair 0 has the operation 'sep_conv_9x9'; known are",
        ),
        ({2: [[5, "identity"], [0, "identity"]]}, r"pair 2 makes node 4 and reads node 5; it may read .* 0 to 3"),
        ({2: [[4, "identity"], [0, "identity"]]}, "pair 2 makes node 4 and reads node 4"),
        ({2: [[-1, "identity"], [0, "identity"]]}, "reads node -1"),
        ({1: [[0, "identity"]]}, r"pair 1 is \[\[0, 'identity'\]\]; write \[\[node, operation\]"),
        ({1: [["0", "identity"], [0, "identity"]]}, "write"),
        ({1: "ab"}, "write"),
    ],
)
def test_what_is_no_genotype_is_refused(change: dict[int, object], message: str) -> None:
    value = NASNET_A.to_list()
    value["normal"] = [change.get(number, pair) for number, pair in enumerate(value["normal"])]
    with pytest.raises(SpaceError, match=message):
        SPACE.parse(value)
    with pytest.raises(SpaceError, match=r"INPUT_ARCH, read as one of SUPERNET.SPACE=nasnet: "):
        select(-1, value, "nasnet")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"normal": []}, "a genotype has normal, reduction, and maybe"),
        ({**NASNET_A.to_list(), "normal_joined": []}, r"the normal cell joins \[\]; list nodes of 0 to 6, ascending"),
        ({**NASNET_A.to_list(), "normal_joined": [3, 2]}, "ascending"),
        ({**NASNET_A.to_list(), "reduction_joined": [7]}, "the reduction cell joins"),
        ({**NASNET_A.to_list(), "normal": [[]]}, "is no list of 5 pairs"),
        ([[0], [3]], "is no genotype"),
        ("287", "'287' is no genotype: write <normal>/<reduction>"),
        ("a/b", "'a' is no operation with the node that it reads"),
        ("{", "not valid JSON"),
    ],
)
def test_other_forms_are_refused(value: object, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        SPACE.parse(value)


def test_a_genotype_is_selected_by_yaml_text_or_json() -> None:
    sampled = SPACE.sample(make_generator(0, "nasnet"))
    keys = ["SUPERNET.SPACE=nasnet", "NASNET={STEM: cifar, FILTERS: 9, CELLS: 2}"]
    for written in (json.dumps(sampled.to_list()), f"'{sampled}'"):
        config = load_config(None, [*keys, f"INPUT_ARCH={written}"])
        chosen = select(-1, config.input_arch, config.supernet.space, config.surroundings)
        assert chosen.architecture == sampled
        assert (chosen.space.description.filters, chosen.space.description.stem) == (9, "cifar")
    stored = stored_selection({"selection": json.loads(json.dumps(describe_selection(chosen)))}, "file")
    assert stored is not None
    assert (stored.architecture, stored.space.description) == (sampled, chosen.space.description)


def test_the_surroundings_of_cells_are_for_cells() -> None:
    with pytest.raises(ConfigError, match=r"NASNET.FILTERS=9 is about the network around a cell of nasnet, and 287"):
        select(287, None, "cream", {"nasnet": NasNet(FILTERS=9)})
    assert NasNet().model_dump().items() <= NasNetDescription().model_dump().items()


def test_the_space_is_built_by_name_but_shares_no_weights() -> None:
    assert isinstance(build_space("nasnet"), NasNetSpace)
    for refused in (lambda: build_shared_space("nasnet"), lambda: SPACE.extract(None, NASNET_A)):
        with pytest.raises(SpaceError, match=r"nasnet shares no weights.* train one with retrain.py"):
            refused()
    with pytest.raises(SpaceError, match="no genotype of space 'nasnet'"):
        SPACE.cost(select(287).architecture)


def test_the_auxiliary_head_is_for_training_only() -> None:
    network = SPACE.build_network(NASNET_A)
    images = torch.randn(2, 3, 32, 32, generator=make_generator(0, "images"))
    assert network.train()(images).shape == (2, 3)
    network.add_auxiliary_head(make_generator(0, "auxiliary"))
    logits, auxiliary = network(images)
    auxiliary.sum().backward()
    assert (logits.shape, auxiliary.shape) == ((2, 3), (2, 3))
    assert network.cells[auxiliary_place(SMALL)].current.conv.weight.grad is not None
    assert network.cells[-1].current.conv.weight.grad is None
    plain = SPACE.build_network(NASNET_A, make_generator(1, "other"))
    load_weights(plain, network.state_dict(), "file")
    assert torch.equal(plain.eval()(images), network.eval()(images))


@pytest.mark.parametrize("size", [8, 27])
def test_the_auxiliary_head_fits_small_images(size: int) -> None:
    space = SPACE.at_resolution(size)
    network = space.build_network(NASNET_A)
    network.add_auxiliary_head(make_generator(0, "auxiliary"))
    assert [one.shape for one in network.train()(torch.zeros(2, 3, size, size))] == [(2, 3), (2, 3)]


def test_drop_path_grows_with_the_training_and_the_depth() -> None:
    network = SPACE.build_network(NASNET_A).train()
    images = torch.randn(2, 3, 32, 32, generator=make_generator(0, "images"))
    plain = network(images)
    network.set_regularization(0.0, 0.5)
    network.set_progress(0.0)
    torch.testing.assert_close(network(images), plain)
    network.set_progress(0.5)
    rates = [network._drop_rate(place) for place in range(len(network.cells))]
    assert [float(rate) for rate in rates if rate is not None] == pytest.approx(
        [0.25 * (place + 1) / len(rates) for place in range(len(rates))]
    )
    assert not torch.allclose(network(images), plain)
    assert torch.equal(network.eval()(images), network(images))
    assert "progress" not in network.state_dict()


def test_text_of_the_published_genotype_names_what_it_joins() -> None:
    normal, reduction = str(NASNET_A).split("/")
    assert normal.endswith("|sep_conv_3x3~1+identity~1>0,2,3,4,5,6")
    assert parse_genotype(f"{normal.partition('>')[0]}/{reduction}").normal.joined == (2, 3, 4, 5, 6)
