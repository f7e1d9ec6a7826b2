from __future__ import annotations

import pytest
import torch

from configs.schema import Augment
from data.augmentation import BatchAugmentation, Normalization
from runtime.seeds import make_generator

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
NORMALIZE = Normalization(MEAN, STD, 16, torch.device("cpu"))
PIXELS = torch.randint(1, 256, (64, 16, 16, 3), dtype=torch.uint8, generator=make_generator(0, "pixels"))
DRAWS = BatchAugmentation.draw(len(PIXELS), make_generator(0, "draws"))


def make(**keys: object) -> BatchAugmentation:
    return BatchAugmentation(Augment(**{"FLIP": 0.0, "SCALE": None, **keys}), NORMALIZE, "bilinear")


def test_normalization_is_the_textbook_formula() -> None:
    expected = (PIXELS / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    torch.testing.assert_close(NORMALIZE(PIXELS), expected.permute(0, 3, 1, 2))


@pytest.mark.parametrize("crop", [{"CROP_PADDING": 3}, {"SCALE": (0.3, 1.0)}])
def test_a_slice_is_augmented_as_in_the_whole_batch(crop: dict[str, object]) -> None:
    augment = make(FLIP=0.5, ERASING=0.5, **crop)
    torch.testing.assert_close(augment(PIXELS, DRAWS)[10:30], augment(PIXELS[10:30], DRAWS[10:30]), rtol=0, atol=0)


def test_nothing_set_only_normalizes() -> None:
    assert torch.equal(make()(PIXELS, DRAWS), NORMALIZE(PIXELS))
    whole = make(SCALE=(1.0, 1.0), RATIO=(1.0, 1.0))
    torch.testing.assert_close(whole(PIXELS, DRAWS), NORMALIZE(PIXELS), rtol=0, atol=1e-4)


@pytest.mark.parametrize("crop", [{}, {"SCALE": (1.0, 1.0), "RATIO": (1.0, 1.0)}])
def test_flip_mirrors_its_share(crop: dict[str, object]) -> None:
    images, mirrored = make(FLIP=0.5, **crop)(PIXELS, DRAWS), NORMALIZE(PIXELS.flip(2))
    flipped = (images - mirrored).abs().amax((1, 2, 3)) < 1e-4
    unchanged = (images - NORMALIZE(PIXELS)).abs().amax((1, 2, 3)) < 1e-4
    assert (flipped ^ unchanged).all()
    assert 20 < flipped.sum() < 44


def test_padded_crops_are_windows_of_the_zero_padded_image() -> None:
    normalize = Normalization(MEAN, STD, 20, torch.device("cpu"))
    padded = normalize(torch.nn.functional.pad(PIXELS, (0, 0, 2, 2, 2, 2)))
    windows = padded.unfold(2, 16, 1).unfold(3, 16, 1).flatten(2, 3)  # (B, C, 25 offsets, 16, 16)
    equal = (make(CROP_PADDING=2)(PIXELS, DRAWS)[:, :, None] == windows).all(dim=(1, 3, 4))
    assert equal.any(1).all()
    assert equal.any(0).sum() > 15, "crops should spread over the 25 offsets"


def test_resized_crops_stay_inside_the_image() -> None:
    ramp = torch.arange(16, dtype=torch.uint8).mul(16).view(1, 1, 16, 1).expand(64, 16, 16, 3)
    sampled = make(SCALE=(0.25, 0.25), RATIO=(1.0, 1.0))(ramp, DRAWS) * 0.2 * 255 + 0.4 * 255
    columns = sampled[:, 0, 8]
    torch.testing.assert_close(columns[:, 9] - columns[:, 6], torch.full((64,), 24.0), rtol=0, atol=0.1)
    assert columns.min() > -1e-3
    assert columns.max() < 240.001
    assert columns[:, 0].std() > 20, "crops should start at different columns"


def test_erasing_clears_one_box_of_its_share_of_images() -> None:
    erased = make(ERASING=0.5)(PIXELS, DRAWS) != NORMALIZE(PIXELS)
    touched = erased.flatten(1).any(1)
    assert 20 < touched.sum() < 44
    assert (make(ERASING=0.5)(PIXELS, DRAWS)[erased] == 0).all()
    for mask in erased[touched].any(1):
        assert mask.sum() == mask.any(0).sum() * mask.any(1).sum()
        assert mask.float().mean() < 0.45


@pytest.mark.parametrize("mode", ["const", "pixel"])
def test_erased_boxes_do_not_depend_on_what_fills_them(mode: str) -> None:
    reference = make(ERASING=0.5)(PIXELS, DRAWS) != NORMALIZE(PIXELS)
    images = make(ERASING=0.5, ERASING_MODE=mode)(PIXELS, DRAWS)
    assert torch.equal((images != NORMALIZE(PIXELS)).any(1), reference.any(1))
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_pixel_noise_is_normal_and_independent_between_pixels_channels_and_images() -> None:
    images = make(ERASING=1.0, ERASING_MODE="pixel")(PIXELS, DRAWS)
    erased = images != NORMALIZE(PIXELS)
    noise = images[erased].double()
    number = len(noise)
    assert abs(noise.mean().item()) < 4 / number**0.5
    assert noise.var().item() == pytest.approx(1.0, abs=4 * (2 / number) ** 0.5)
    assert noise.pow(4).mean().item() == pytest.approx(3.0, abs=4 * (96 / number) ** 0.5)
    box = erased.all(1, keepdim=True)
    for shift in ((0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (1, 0, 0, 0)):  # channel, row, column, image
        near = images.roll(shift, (0, 1, 2, 3))
        both = (box & box.roll(shift, (0, 1, 2, 3))).expand_as(images)
        product = (images[both] * near[both]).double()
        assert abs(product.mean().item()) < 5 / len(product) ** 0.5


@pytest.mark.parametrize("crop", [{"CROP_PADDING": 3}, {"SCALE": (0.3, 1.0)}])
def test_a_slice_has_the_noise_of_the_whole_batch(crop: dict[str, object]) -> None:
    augment = make(FLIP=0.5, ERASING=0.5, ERASING_MODE="pixel", **crop)
    whole = augment(PIXELS, DRAWS)
    torch.testing.assert_close(whole[10:30], augment(PIXELS[10:30], DRAWS[10:30]), rtol=0, atol=0)
    assert torch.equal(whole, augment(PIXELS, DRAWS))
    other = BatchAugmentation.draw(len(PIXELS), make_generator(0, "other"))
    assert not torch.equal(whole, augment(PIXELS, other))
