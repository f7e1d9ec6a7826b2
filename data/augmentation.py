"""Training augmentation of whole batches on the device."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from configs.schema import Augment

DRAWS = 10

_ERASED_AREA = (0.02, 1 / 3)
_ERASED_LOG_ASPECT = (math.log(0.3), math.log(1 / 0.3))


class Normalization:
    """Pixels (B, H, W, C) in 0 … 255 -> images (B, C, H, W) float32, (pixel / 255 - mean) / std as a multiply-add.

    Pixels keep their channels last in memory, and the factors are tiled over the whole image: on a CPU, loops over
    three channels or a change of layout would take several times as long as all else.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], size: int, device: torch.device) -> None:
        deviations = torch.tensor(std, device=device)
        self._scale = (1 / (255 * deviations)).repeat(size * size)
        self._shift = (-torch.tensor(mean, device=device) / deviations).repeat(size * size)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalise; the result is channels-last. Float pixels are overwritten."""
        flat = pixels.float().flatten(1)
        return flat.mul_(self._scale).add_(self._shift).view(pixels.shape).permute(0, 3, 1, 2)


class RandomErasing:
    """Boxes of some images become the mean colour or noise, https://arxiv.org/abs/1708.04896, over a batch.

    Each image is changed by its own row of uniform numbers alone, whatever else is in the batch.
    """

    DRAWS = 5

    def __init__(self, config: Augment) -> None:
        self._probability, self._mode = config.erasing, config.erasing_mode

    def __call__(self, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """Erase in normalised images (B, C, H, W), in place, by draws (B, DRAWS) in [0, 1); returns them."""
        if not self._probability:
            return images
        erase, *box = draws.unbind(1)
        chosen = erase < self._probability
        erased = _erased(images, chosen, *box)
        if self._mode == "const":
            return images.masked_fill_(erased, 0.0)
        # to tell which images are chosen would make the host wait for an accelerator, which is fast enough for all
        rows = chosen.nonzero()[:, 0] if images.is_cpu else torch.arange(len(images), device=images.device)
        noise = _noise(images[rows], *(draw[rows] for draw in box))
        images[rows] = torch.where(erased[rows], noise, images[rows])
        return images


class BatchAugmentation:
    """Padded random crop or random resized crop, flip, normalisation and random erasing, vectorised over a batch.

    Each image is changed by its own row of uniform numbers alone, so a slice of a batch is augmented as it would be in
    the whole: `augment(pixels, draws)[a:b]` equals `augment(pixels[a:b], draws[a:b])`.
    """

    def __init__(self, config: Augment, normalize: Normalization, interpolation: str) -> None:
        self._config = config
        self._normalize = normalize
        self._interpolation = interpolation
        self._erase = RandomErasing(config)

    @staticmethod
    def draw(count: int, generator: torch.Generator) -> torch.Tensor:
        """Uniform numbers (count, DRAWS) in [0, 1) for `count` images."""
        return torch.rand(count, DRAWS, generator=generator)

    def __call__(self, pixels: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """Augment pixels (B, H, W, C) uint8 by draws (B, DRAWS); returns normalised images (B, C, H, W)."""
        flip, top, left, area, aspect = draws[:, : -RandomErasing.DRAWS].unbind(1)
        flipped = flip < self._config.flip
        if self._config.scale:
            pixels = self._resized_crop(pixels, flipped, top, left, area, aspect)
        else:
            pixels = padded_crop(pixels, self._config.crop_padding, flipped, top, left)
        return self._erase(self._normalize(pixels), draws[:, -RandomErasing.DRAWS :])

    def _resized_crop(self, pixels: torch.Tensor, flipped: torch.Tensor, *draws: torch.Tensor) -> torch.Tensor:
        """Inception's random resized crop, https://arxiv.org/abs/1409.4842, as one affine sampling."""
        top, left, area, aspect = draws
        assert self._config.scale is not None
        log_ratio = tuple(math.log(ratio) for ratio in self._config.ratio)
        height, width = _sides(_between(area, self._config.scale), _between(aspect, log_ratio))
        center_y = (2 * top - 1) * (1 - height)
        center_x = (2 * left - 1) * (1 - width)
        zero = torch.zeros_like(top)
        rows = (torch.where(flipped, -width, width), zero, center_x), (zero, height, center_y)
        theta = torch.stack([torch.stack(row, 1) for row in rows], 1)
        planes = pixels.permute(0, 3, 1, 2).float()
        grid = F.affine_grid(theta, list(planes.shape), align_corners=False)
        sampled = F.grid_sample(planes, grid, self._interpolation, "border", align_corners=False)
        return sampled.clamp_(0, 255).permute(0, 2, 3, 1)


def padded_crop(
    pixels: torch.Tensor, padding: int, flipped: torch.Tensor, top: torch.Tensor, left: torch.Tensor
) -> torch.Tensor:
    """Pad pixels (B, H, W, C) with zeros, crop back at `top`, `left` (B,) in [0, 1), mirror where `flipped` (B,).

    Both are one gather over the flattened image, several times as fast on a CPU as indexing with broadcast indices.
    """
    size, height, width, channels = pixels.shape
    padded = F.pad(pixels, (0, 0) + (padding,) * 4)
    forward = torch.arange(width, device=pixels.device)
    rows = _offset(top, padding) + torch.arange(height, device=pixels.device)
    columns = _offset(left, padding) + torch.where(flipped[:, None], forward.flip(0), forward)
    sources = (rows[:, :, None] * padded.shape[2] + columns[:, None, :]).view(size, -1, 1)
    return padded.flatten(1, 2).gather(1, sources.expand(-1, -1, channels)).view_as(pixels)


def _offset(uniform: torch.Tensor, padding: int) -> torch.Tensor:
    return (uniform * (2 * padding + 1)).long().clamp_(max=2 * padding)[:, None]


def _between(uniform: torch.Tensor, bounds: Sequence[float]) -> torch.Tensor:
    low, high = bounds
    return low + uniform * (high - low)


def _sides(area: torch.Tensor, log_aspect: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Height and width of boxes, as shares of the image's; aspect is width over height."""
    aspect = log_aspect.exp()
    return (area / aspect).sqrt().clamp(max=1.0), (area * aspect).sqrt().clamp(max=1.0)


def _erased(images: torch.Tensor, chosen: torch.Tensor, *draws: torch.Tensor) -> torch.Tensor:
    """Mask (B, 1, H, W) of random erasing's boxes, https://arxiv.org/abs/1708.04896."""
    area, aspect, top, left = draws
    height, width = _sides(_between(area, _ERASED_AREA), _between(aspect, _ERASED_LOG_ASPECT))
    rows = _inside(top, height, images.shape[2])
    columns = _inside(left, width, images.shape[3])
    return (chosen[:, None, None] & rows[:, :, None] & columns[:, None, :])[:, None]


def _noise(images: torch.Tensor, *draws: torch.Tensor) -> torch.Tensor:
    """Normal noise like images (B, C, H, W), each image's a function of its own draws (B,) alone.

    A hash of (draws, place in the image) takes the place of a generator, whose numbers would depend on the other images
    of the batch; its 23 upper bits are the quantile.
    """
    key = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    for draw in draws:
        key = _hash(key + (draw * 2**24).long())
    _, channels, height, width = images.shape
    place = torch.arange(height * width * channels, device=images.device).view(height, width, channels)
    quantile = ((_hash(key[:, None, None, None] ^ _hash(place)) >> 9) + 0.5) / 2**22 - 1
    return (quantile.erfinv() * math.sqrt(2)).permute(0, 3, 1, 2)


def _hash(numbers: torch.Tensor) -> torch.Tensor:
    """Non-negative int64 -> 32 well-mixed bits of each one's lower 32 (https://github.com/skeeto/hash-prospector)."""
    bits = numbers & 0xFFFFFFFF
    for shift, factor in ((16, 0x21F0AAAD), (15, 0x735A2D97)):
        bits = ((bits ^ (bits >> shift)) * factor) & 0xFFFFFFFF
    return bits ^ (bits >> 15)


def _inside(start: torch.Tensor, share: torch.Tensor, size: int) -> torch.Tensor:
    """(B, size) bool: the pixels of one axis that a box covers."""
    length = (share * size).round()
    first = (start * (size - length + 1)).floor()[:, None]
    pixel = torch.arange(size, device=start.device)
    return (first <= pixel) & (pixel < first + length[:, None])
