"""Spaces as data: what their files say, what is refused, and the laws of their architectures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from path_samples import SPACES, generator

from configs.errors import ConfigError, SpaceError
from supernet.architecture import Architecture
from supernet.catalog import SPACES_FOLDER, build_space, space_names
from supernet.spaces.mbconv import MBConvSpace
from supernet.spaces.reading import read_space

OWN = """\
name: my-space
resolution: 24
classes: 7
stem: {channels: 8, stride: 4}
operations:
  - &small {kernel: 3, expansion: 2, squeeze_excite: 0.25}
  - {<<: *small, kernel: 9}
  - {block: skip}
  - {block: conv, kernel: 1, activation: hard_swish}
stages:
  - {channels: 8, depth: [1, 2]}
  - channels: 16
    stride: 2
    operations:
      - {block: separable, kernel: 5}
      - {block: skip, project: true}
head: {channels: 32, pool_first: true, bias: true}
"""
Write = Callable[..., Path]
every_space = pytest.mark.parametrize("name", SPACES)
seeds = st.integers(0, 2**32)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write the user's own space, with some of its text exchanged."""

    def write_file(*changes: tuple[str, str]) -> Path:
        text = OWN
        for old, new in changes:
            assert text.count(old) == 1
            text = text.replace(old, new)
        path = tmp_path / "own.yaml"
        path.write_text(text)
        return path

    return write_file


def refusal(path: Path) -> str:
    with pytest.raises(SpaceError) as caught:
        read_space(path)
    return str(caught.value).replace(str(path.parent) + "/", "")


def test_a_space_of_the_users_own_works(write: Write) -> None:
    space = build_space(str(write()))
    assert (space.name, space.resolution, space.channels, space.classes) == ("my-space", 24, 3, 7)
    assert space.count == (4 + 4 * 4) * 2
    assert space.operations(0)[1].kernel == 9
    assert space.operations(0)[1].squeeze_excite == 0.25
    path = space.parse("[[1, 3], [0]]")
    for encoding in ("separate", "superkernel"):
        supernet = space.build_supernet(encoding).eval()
        images = torch.randn(2, 3, 24, 24, generator=generator())
        assert supernet(images, path).shape == (2, 7)
        assert torch.equal(space.extract(supernet, path)(images), supernet(images, path))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("kernel: 9", "kernal: 9"), "own.yaml:7: operations[1].kernal: unknown key; did you mean kernel?"),
        (("kernel: 9", "Kernel: 9"), "own.yaml:7: operations[1].Kernel: unknown key; did you mean kernel?"),
        (("classes", "clases"), "own.yaml:3: clases: unknown key; did you mean classes?"),
        (("    stride", "    strid"), "own.yaml:13: stages[1].strid: unknown key; did you mean stride?"),
        (
            ("kernel: 5", "kernels: 5"),
            "own.yaml:15: stages[1].operations[0].kernels: unknown key; did you mean kernel?",
        ),
        (
            ("bias", "zzz"),
            "own.yaml:17: head.zzz: unknown key; known are channels, pool_first, norm, bias, activation",
        ),
        (("kernel: 9", "kernel: 4"), "own.yaml:7: operations[1].kernel: should be 1, 3, 5, 7, 9 or 11"),
        (("expansion: 2", "expansion: -2"), "own.yaml:6: operations[0].expansion: should be greater than 0"),
        (
            ("block: conv", "block: cnv"),
            "own.yaml:9: operations[3].block: should be 'mbconv', 'separable', 'conv' or 'skip'",
        ),
        (("channels: 16\n", "depth: 1\n"), "own.yaml:12: stages[1].channels: missing; it is the output channels"),
        (("head: {channels: 32, ", "x: {"), "own.yaml:1: head: missing; it is the last layers"),
        (("[1, 2]", "[2, 1]"), "own.yaml:11: stages[0]: depth [2, 1]: the smallest is above the largest"),
        (("[1, 2]", "[1, 2, 3]"), "own.yaml:11: stages[0].depth: should be the number of layers (at least 1), or [sma"),
        (("[1, 2]", "0"), "own.yaml:11: stages[0].depth: should be the number of layers (at least 1), or [smallest,"),
        (("{channels: 8, stride: 4}", "8"), "own.yaml:4: stem: should be a mapping of keys and values"),
        (("expansion: 2", "expansion: 2.3"), "own.yaml:11: stages[0]: expansion 2.3 of 8 channels is no whole number"),
        (("classes: 7", "text: digits"), "own.yaml:11: stages[0]: text: digits needs a fixed depth; use lists"),
        (("my-space", "my space"), "own.yaml:1: name: String should match pattern"),
        (("classes: 7", "resolution: 32"), "own.yaml:3: resolution: given twice, first in line 2"),
        (("[1, 2]", "[1, 2"), "own.yaml:11: this is not YAML: expected"),
        (("classes: 7", "? [a]\n: 7"), "own.yaml:3: this is not YAML: found unhashable key"),
    ],
)
def test_a_wrong_file_is_refused_naming_the_line(write: Write, change: tuple[str, str], expected: str) -> None:
    assert expected in refusal(write(change))


def test_all_that_is_wrong_is_said_at_once(write: Write) -> None:
    message = refusal(write(("kernel: 9", "kernel: 2"), ("stride: 4", "stide: 4"), ("channels: 32", "channels: many")))
    assert [line.strip().split(": ")[0] for line in message.splitlines()] == ["own.yaml:4", "own.yaml:7", "own.yaml:17"]


def test_a_stage_needs_an_operation_for_its_first_layer(write: Write) -> None:
    change = ("      - {block: separable, kernel: 5}\n      - {block: skip, project: true}", "      - {block: skip}")
    assert refusal(write(change)) == "own.yaml:12: stages[1]: no operation fits its first layer; list one beside skip"


@pytest.mark.parametrize("text", ["", "[]", "cream", "? a"])
def test_a_file_that_is_no_space(tmp_path: Path, text: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    assert refusal(path).startswith("own.yaml:1: ")


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_bytes(b"\xff\xfe\x00name")
    assert "own.yaml cannot be read" in refusal(tmp_path / "own.yaml")


def test_unknown_spaces_are_refused_with_the_known_names() -> None:
    assert space_names() == sorted(path.stem for path in SPACES_FOLDER.iterdir()) == sorted([*SPACES, "cream_small"])
    known = "cream, cream_small, fashion, nasbench_macro, spnas"
    with pytest.raises(ConfigError, match=rf"'creme': give one of {known}, or the path"):
        build_space("creme")


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("cream", sum(6**depth for depth in range(1, 6)) ** 3 * sum(6**depth for depth in range(1, 7)) ** 2),
        ("spnas", 4**5 * 5**15),
        ("nasbench_macro", 6561),
        ("fashion", (6 + 6**2 + 6**3) ** 3),
    ],
)
def test_the_number_of_architectures(name: str, count: int) -> None:
    assert build_space(name).count == count


@every_space
@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_text_lists_and_json_are_read_back(name: str, seed: int) -> None:
    space = build_space(name)
    architecture = space.sample(generator(seed))
    assert space.validate(architecture) is architecture
    assert space.parse(space.text(architecture)) == architecture
    assert space.parse(architecture.to_list()) == architecture
    assert space.parse(str(architecture)) == architecture
    assert Architecture.from_json(architecture.to_json()) == architecture
    assert hash(Architecture.from_json(architecture.to_json())) == hash(architecture)


@every_space
@settings(max_examples=15, deadline=None)
@given(seed=seeds, data=st.data())
def test_one_wrong_index_is_refused(name: str, seed: int, data: st.DataObject) -> None:
    space = build_space(name)
    stages = space.sample(generator(seed)).to_list()
    number = data.draw(st.integers(0, len(stages) - 1))
    layer = data.draw(st.integers(0, len(stages[number]) - 1))
    wrong = st.integers(-9, 9).filter(lambda index: index != -1 and index not in space.choices(number, layer))
    stages[number][layer] = data.draw(wrong)
    with pytest.raises(SpaceError, match=rf"at stage {number}, block {layer}; {name} allows \["):
        space.parse(stages)


@every_space
@settings(max_examples=15, deadline=None)
@given(seed=seeds, probability=st.floats(0, 1))
def test_mutants_and_children_are_in_the_space(name: str, seed: int, probability: float) -> None:
    space, random = build_space(name), generator(seed)
    first, second = space.sample(random), space.sample(random)
    mutant = space.mutate(first, probability, random)
    assert mutant != first
    child = space.crossover(first, second, random)
    for one in (mutant, child):
        space.validate(one)
    assert all(len(mine) in (len(a), len(b)) for mine, a, b in zip(child.stages, first.stages, second.stages))


def test_sampling_is_uniform_and_depends_on_the_generator_alone(write: Write) -> None:
    space = read_space(write())
    assert [space.sample(generator(3)) for _ in range(2)] == [space.sample(generator(3))] * 2
    random, draws = generator(4), 2000
    counts = Counter(space.sample(random) for _ in range(draws))
    expected = draws / space.count
    statistic = sum((count - expected) ** 2 / expected for count in counts.values())
    assert len(counts) == space.count == 40
    assert statistic < 39 + 5 * (2 * 39) ** 0.5


def test_minus_one_skips_a_block() -> None:
    cream = build_space("cream")
    assert cream.parse("[[0],[3,-1],[-1,3],[3],[3],[3],[0]]") == cream.parse("[[0],[3],[3],[3],[3],[3],[0]]")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("cream", "[[0],[3]", "write a list of lists of operation indices"),
        ("cream", "", "write a list of lists of operation indices"),
        ("cream", 123, "write a list of lists of operation indices"),
        ("cream", "[[0],[3],[3],[3],[3],[true],[0]]", "write a list of lists of operation indices"),
        ("cream", "[[0],[3]]", "has 2 stages; cream has 7"),
        ("cream", "[[0],[3,3,3,3,3,3],[3],[3],[3],[3],[0]]", "stage 1 has 6 blocks; cream allows 1 to 5"),
        ("cream", "[[0],[-1],[3],[3],[3],[3],[0]]", "stage 1 has 0 blocks; cream allows 1 to 5"),
        ("spnas", "[[0],[4,0,0,0],[0,0,0,0],[0,0,0,0],[0,0,0,0],[0,0,0,0],[0]]", r"allows \[0, 1, 2, 3\]"),
        ("nasbench_macro", "0000000", "has 7 digits; nasbench_macro has 8 layers"),
        ("nasbench_macro", "00000003", r"operation 3 at stage 2, block 2; nasbench_macro allows \[0, 1, 2\]"),
    ],
)
def test_what_is_no_architecture_is_refused(name: str, text: str | int, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        build_space(name).parse(text)


def test_an_architecture_of_another_space_is_refused() -> None:
    spnas, cream = build_space("spnas"), build_space("cream")
    with pytest.raises(SpaceError, match="of space 'spnas' was given to space 'cream'"):
        cream.validate(spnas.sample(generator()))


def test_digits_may_be_typed_as_a_number() -> None:
    macro: MBConvSpace = build_space("nasbench_macro")
    assert macro.parse(12012012) == macro.parse("12012012") == macro.parse([[1, 2], [0, 1, 2], [0, 1, 2]])
