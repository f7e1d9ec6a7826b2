"""What MODEL_SELECTION and INPUT_ARCH select."""

from __future__ import annotations

import pytest
import torch
from path_samples import generator

from configs.errors import ConfigError, SpaceError
from supernet.catalog import PUBLISHED, build_network, select

NAMES = ["14", "43", "114", "287", "481", "604", "spnasnet_100", "112", "nasbench_macro/<8 digits>"]
NETWORK_14 = "[[0],[3],[3,3],[3,3],[3],[3],[0]]"


def test_unknown_selections_are_refused_with_the_known_names() -> None:
    with pytest.raises(ConfigError) as caught:
        select(288)
    assert "MODEL_SELECTION 288 is not known; the known ones are" in str(caught.value)
    assert all(name in str(caught.value) for name in NAMES)
    for unknown in ("nasbench_macro", "nasbench_macro/", "fashion/000", "spnasnet"):
        with pytest.raises(ConfigError, match="is not known"):
            select(unknown)


def test_numbers_and_text_select_alike() -> None:
    assert select(287).architecture == select("287").architecture
    assert select(112).architecture == select(114).architecture
    assert select(112).name == "114"


def test_a_published_name_may_be_in_any_case() -> None:
    selected, same = select("SPNASNet_100"), select("spnasnet_100")
    assert (selected.name, selected.architecture) == (same.name, same.architecture)


def test_an_architecture_of_the_macro_benchmark() -> None:
    chosen = select("nasbench_macro/01201201")
    assert chosen.architecture.to_list() == [[0, 1], [2, 0, 1], [2, 0, 1]]
    assert chosen.name == "nasbench_macro/01201201"
    with pytest.raises(SpaceError, match="7 digits"):
        select("nasbench_macro/0120120")


def test_a_published_stage_of_one_block_has_the_stages_default() -> None:
    """As the released builder made it: k3 e4, then k5 e4, k3 e6, k3 e6, k5 e6."""
    assert PUBLISHED["14"].architecture == NETWORK_14
    assert select(14).architecture.to_list() == [[0], [0], [3, 3], [3, 3], [1], [3], [0]]
    assert [select(name).architecture.stages[1] for name in (14, 43, 114, 287)] == [(0,)] * 4
    weight = build_network(287).state_dict()["blocks.1.0.conv_dw.weight"]
    assert weight.shape == (64, 1, 3, 3)


def test_an_architecture_that_was_searched_keeps_its_own_index() -> None:
    chosen = select(-1, NETWORK_14)
    assert str(chosen.architecture) == chosen.name == NETWORK_14
    network = chosen.space.build_network(chosen.architecture)
    assert network.state_dict()["blocks.1.0.conv_dw.weight"].shape == (96, 1, 5, 5)


@pytest.mark.parametrize("input_arch", ["[[0],[1],[1,1]]", [[0], [1], [1, 1]]])
def test_input_arch_is_of_the_chosen_space(input_arch: str | list[list[int]]) -> None:
    chosen = select(-1, input_arch, space="fashion")
    assert chosen.space.name == "fashion"
    assert chosen.architecture.stages == ((0,), (1,), (1, 1))
    with pytest.raises(SpaceError, match="has 3 stages; cream has 7"):
        select(-1, input_arch)


def test_input_arch_and_selection_need_each_other() -> None:
    with pytest.raises(ConfigError, match="MODEL_SELECTION is -1 but INPUT_ARCH is not set"):
        select(-1)
    with pytest.raises(ConfigError, match="INPUT_ARCH is read only where MODEL_SELECTION is -1; it is 287"):
        select(287, NETWORK_14)


def test_networks_have_one_output_a_class() -> None:
    network = build_network("nasbench_macro/00000000", num_classes=3, generator=generator()).eval()
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
    assert build_network("nasbench_macro/00000000").classifier.out_features == 10


def test_a_selection_is_adapted_to_a_data_set() -> None:
    adapted = select(287).adapted(channels=1, classes=7, resolution=64)
    network = adapted.space.build_network(adapted.architecture).eval()
    assert network(torch.zeros(1, 1, 64, 64)).shape == (1, 7)
    assert (adapted.name, adapted.architecture) == ("287", select(287).architecture)
    assert adapted.space.cost(adapted.architecture).macs < select(287).space.cost(adapted.architecture).macs / 10
