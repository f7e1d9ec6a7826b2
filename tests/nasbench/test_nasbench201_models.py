"""`nasbench.models` and the texts of cells, beside the official packages where they are installed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import ConfigError
from nasbench.models import CellStructure, dict2config, get_cell_based_tiny_net
from supernet.catalog import build_network
from supernet.spaces.nasbench201.cell import OPERATIONS, CellError, all_cells
from supernet.spaces.nasbench201.text import str2lists, str2matrix, unique_text

ARCH = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"
CONFIG = {"name": "infer.tiny", "C": 4, "N": 1, "arch_str": ARCH, "num_classes": 3}


@st.composite
def genotypes(draw: st.DrawFn) -> list[list[tuple[str, int]]]:
    """Cells of two to five nodes; an edge may be missing, doubled, or out of order."""
    return [
        draw(st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, target)), min_size=1, max_size=4))
        for target in range(draw(st.integers(1, 4)))
    ]


def test_unique_texts_are_as_many_as_published() -> None:
    nodes = [cell.to_nodes() for cell in all_cells()]
    assert len({unique_text(cell, consider_zero=True) for cell in nodes}) == 6_466
    assert len({unique_text(cell, consider_zero=False) for cell in nodes}) == 12_751
    assert len({unique_text(cell, consider_zero=None) for cell in nodes}) == 15_625


def test_lists_and_matrix_of_the_official_example() -> None:
    text = "|nor_conv_1x1~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"
    assert str2lists(text)[1:] == [(("none", 0), ("none", 1)), (("none", 0), ("none", 1), ("skip_connect", 2))]
    assert str2matrix(text).tolist() == [[0, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]
    with pytest.raises(ValueError, match=r"'conv' of .* is none of none, skip_connect"):
        str2matrix("|conv~0|")
    with pytest.raises(ValueError, match=r"'none' of .* is no edge"):
        str2lists("|none|")
    with pytest.raises(CellError, match="node 1 is fed by node 1"):
        str2matrix("|none~1|")


@pytest.mark.differential
@settings(max_examples=300, deadline=None)
@given(genotypes())
def test_structures_answer_as_the_official_ones(genotype: list[list[tuple[str, int]]]) -> None:
    official = pytest.importorskip("nats_bench.genotype_utils").TopologyStructure
    package = pytest.importorskip("nas_201_api").NASBench201API
    ours, theirs = CellStructure(genotype), official(genotype)
    text = ours.tostr()
    assert text == theirs.tostr()
    assert (len(ours), [*ours], ours[-1]) == (len(theirs), [*theirs], theirs[-1])
    assert repr(ours).partition("(")[2] == repr(theirs).partition("(")[2]
    assert ours.check_valid() == theirs.check_valid()
    assert ours.check_valid_op(OPERATIONS[1:]) == theirs.check_valid_op(OPERATIONS[1:])
    for zero in (True, False, None):
        assert ours.to_unique_str(zero) == theirs.to_unique_str(zero)
    assert ours.tolist("none") == theirs.tolist("none")
    assert CellStructure.str2structure(text).nodes == official.str2structure(text).nodes
    assert CellStructure.str2fullstructure(text).nodes == official.str2fullstructure(text).nodes
    assert str2lists(text) == package.str2lists(text)
    assert (str2matrix(text) == package.str2matrix(text)).all()


def test_a_structure_is_checked_and_read() -> None:
    structure = CellStructure.str2structure(ARCH)
    assert CellStructure.str2structure(structure) is structure
    assert (structure.tostr(), len(structure), structure.node(1)) == (ARCH, 4, structure[1])
    assert repr(structure) == f"CellStructure(4 nodes with {ARCH})"
    assert structure.check_valid()
    assert not CellStructure.str2structure("|none~0|+|skip_connect~1|").check_valid()
    assert CellStructure.str2fullstructure("|none~0|+|none~1|").tostr() == "|none~0|+|none~0|none~1|"
    assert structure.tolist("none") == (structure.nodes, True)
    assert structure.tolist("nor_conv_3x3") == (None, False)
    for wrong in ("|none~1|", "", "|none~0|+"):
        with pytest.raises(CellError, match="from nodes before it only"):
            CellStructure.str2structure(wrong)
    with pytest.raises(IndexError):
        structure.node(0)


def test_all_structures_of_some_operations() -> None:
    structures = CellStructure.gen_all(["none", "skip_connect"], 3, return_ori=False)
    assert [one.tostr() for one in structures[:3]] == [
        "|none~0|+|none~0|none~1|",
        "|none~0|+|none~0|skip_connect~1|",
        "|none~0|+|skip_connect~0|none~1|",
    ]
    assert len(structures) == 2**3
    assert CellStructure.gen_all(["none"], 2, return_ori=True) == [[(("none", 0),)]]
    assert {one.tostr() for one in CellStructure.gen_all(OPERATIONS, 4, False)} == set(map(str, all_cells()))
    with pytest.raises(ConfigError, match="at least two nodes"):
        CellStructure.gen_all(["none"], 1, False)


def test_the_network_of_a_configuration_answers_features_and_logits() -> None:
    """A mapping, a named tuple, a namespace, a string or a structure: the same network, with one set of names."""
    told: list[str] = []
    by_structure = {**CONFIG, "genotype": CellStructure.str2structure(ARCH)}
    del by_structure["arch_str"]
    configs = [CONFIG, dict2config(by_structure, SimpleNamespace(log=told.append)), SimpleNamespace(**CONFIG)]
    assert told[0].startswith("Configure(name='infer.tiny', C=4, N=1, num_classes=3, genotype=CellStructure(")
    images = torch.randn(2, 3, 16, 16)
    first, *others = (get_cell_based_tiny_net(config).eval() for config in configs)
    features, logits = first(images)
    assert (features.shape, logits.shape) == ((2, 16), (2, 3))
    for network in others:
        network.load_state_dict(first.state_dict())
        assert all(torch.equal(*pair) for pair in zip(network(images), (features, logits)))


def test_trained_weights_fit_both_faces() -> None:
    config = {**CONFIG, "C": 16, "N": 5, "num_classes": 10}
    published, ours = get_cell_based_tiny_net(config), build_network(f"nasbench201/{ARCH}")
    ours.load_state_dict(published.state_dict())
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(published.eval()(images)[1], ours.eval()(images))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "infer.shape.tiny"}, "'infer.shape.tiny' are not built here"),
        ({"C": None}, "lacks what a network needs: C, N, num_classes, and arch_str or genotype"),
        ({"arch_str": None}, "lacks what"),
        ({"N": 0}, "describes no network"),
        ({"arch_str": "|dil_conv~0|"}, "no operation 'dil_conv'"),
    ],
)
def test_a_wrong_configuration_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises((ConfigError, CellError), match=message):
        get_cell_based_tiny_net({**CONFIG, **change})


def test_a_configuration_needs_names() -> None:
    with pytest.raises(ConfigError, match="cannot be a configuration"):
        dict2config({"not a name": 3}, None)
