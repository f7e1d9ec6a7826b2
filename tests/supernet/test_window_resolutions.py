"""The window over architectures and image sizes, against one window for each size."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from path_samples import generator, shared_supernet, small_space
from test_window import assert_uniform

from configs.errors import SpaceError, WindowError
from supernet.blocks.layers import resize_images
from supernet.catalog import build_space, select
from supernet.window_resolutions import ResolutionsWindow

SIZES = (16, 24, 32)
BOUNDS = 19_500_000, 20_600_000


def window_of(name: str = "nasbench_macro") -> ResolutionsWindow:
    window = small_space(name).window_of(*BOUNDS, SIZES)
    assert isinstance(window, ResolutionsWindow)
    return window


def test_members_are_those_of_each_resolution() -> None:
    window, space = window_of(), small_space("nasbench_macro")
    listed = list(window)
    assert window.count == len(listed) == len(set(listed)) == sum(space.window(*BOUNDS, s).count for s in SIZES)
    assert {one.resolution for one in listed} == set(window.resolutions) == set(SIZES)
    assert all(one in window and BOUNDS[0] <= space.cost(one).macs <= BOUNDS[1] for one in listed)
    assert listed[0].at(None) not in window
    assert listed[0].at(20) not in window


def test_draws_are_uniform_over_pairs() -> None:
    window = window_of()
    population = list(window)
    assert_uniform(window.sample(generator(), 60 * len(population)), population)


def test_a_resolution_without_members_is_left_out() -> None:
    space = build_space("cream")
    window = space.window_of(5 * 10**6, 12 * 10**6, [64, 224])
    assert window.resolutions == (64,)
    assert {one.resolution for one in window.sample(generator(), 20)} == {64}
    with pytest.raises(WindowError, match=r"at any resolution.* at 64, .* at 224"):
        space.window_of(1 * 10**6, 2 * 10**6, [64, 224])


def test_variation_stays_inside_and_reaches_every_resolution() -> None:
    window, source = window_of(), generator()
    parents = window.sample(source, 40)
    mutants = [window.mutate(parent, 0.3, source) for parent in parents]
    assert all(mutant in window and mutant != parent for mutant, parent in zip(mutants, parents))
    assert {mutant.resolution for mutant in mutants} == set(SIZES)
    assert any(mutant.resolution == parent.resolution for mutant, parent in zip(mutants, parents))
    for first, second in pairwise(parents):
        child = window.crossover(first, second, source)
        assert child in window
        assert child.resolution in (first.resolution, second.resolution)


def test_neighbours_are_of_the_same_size_or_the_same_architecture() -> None:
    window = window_of()
    for one in window.sample(generator(), 10):
        around = window.neighbours(one)
        same = {other.at(one.resolution) for other in window.windows[one.resolution].neighbours(one.at(None))}
        assert set(around) == same | {
            one.at(size) for size in SIZES if size != one.resolution and one.at(size) in window
        }


def test_a_parent_of_another_resolution_is_brought_in() -> None:
    window = window_of()
    assert window.mutate(window.sample(generator(), 1)[0].at(48), 0.0, generator()) in window


def test_text_and_json_keep_the_resolution() -> None:
    space = build_space("cream")
    architecture = space.parse("[[0],[3],[3,3],[3,3],[3],[3],[0]]@64")
    assert architecture.resolution == 64
    assert space.parse(space.text(architecture)) == architecture
    assert type(architecture).from_json(architecture.to_json()) == architecture
    assert space.cost(architecture) == space.cost(architecture.at(None), 64)
    with pytest.raises(SpaceError, match="images of 4 pixels"):
        space.parse("[[0],[3],[3,3],[3,3],[3],[3],[0]]@4")


def test_a_selection_is_trained_at_its_resolution() -> None:
    selection = select(-1, "[[0],[3],[3,3],[3,3],[3],[3],[0]]@64")
    assert selection.space.resolution == 64
    assert selection.architecture.resolution is None


@pytest.mark.parametrize("size", [16, 24])
def test_the_supernet_sees_images_of_the_paths_size(size: int) -> None:
    supernet = shared_supernet("nasbench_macro", "superkernel").eval()
    space = small_space("nasbench_macro")
    path = space.sample(generator())
    images = torch.randn(2, 3, 32, 32, generator=generator())
    with torch.no_grad():
        small = resize_images(images, size)
        assert small.shape == (2, 3, size, size)
        assert torch.equal(supernet(images, path.at(size)), supernet(small, path))
        assert torch.equal(supernet(images, path), supernet(images, path.at(32)))
