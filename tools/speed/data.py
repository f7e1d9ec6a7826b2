"""How many images a second does one core decode and augment, from folders and from shards, beside timm's loader?"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from itertools import chain, count
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from configs.schema import Augment, Data, Runtime
from data.datasets import open_dataset
from data.examples import EncodedImages
from data.loading import load_images
from data.preparation.shards import Shrinking, pack_shards
from runtime.compatibility import import_torchvision
from runtime.world import start_world
from tools.arguments import positive, resolution
from tools.speed.timing import Timing, add_repeats, take_turns

FOLDER, SHARDS, TIMM = "image folder", "shards", "timm's loader, folder"
PILLOW = "Pillow"
SIZE = (500, 375)  # pixels of the images made here, as ImageNet's usually are
CLASSES = 2
RUN = 8  # images of a decoder's turn


def main(arguments: Sequence[str] | None = None) -> None:
    """Print images/s of training batches (read, decode, crop, flip, jitter, normalise), all in one process.

    One thread and no loader processes: the rates are those of one core. Readers: `train.py`'s on an image folder, on
    shards of the same bytes and on shards of shrunk images, and timm's `create_loader` on the folder. Below them,
    decoding alone, by Pillow and by what else is installed. Images are `--data`'s, else photograph-like ones of
    500 x 375 pixels made here.

    Raises:
        DataError: `--data` is no image folder.
    """
    options = _parser().parse_args(arguments)
    start_world(Runtime(DEVICE="cpu", THREADS=1))
    with tempfile.TemporaryDirectory() as name:
        result = DataBenchmark(options, Path(name)).measure()
    print(json.dumps(result)) if options.json else _show(result)


class DataBenchmark:
    """The same images in every form."""

    def __init__(self, options: argparse.Namespace, scratch: Path) -> None:
        self.options, self.scratch = options, scratch
        self.folder = Path(options.data) if options.data else write_photographs(scratch / "images", options.images)
        self.shrunk = f"shards, shorter side {options.shorter_side}"
        packed = {SHARDS: None, self.shrunk: Shrinking(options.shorter_side, quality=95)}
        self.folders = {FOLDER: self.folder}
        for reader, shrinking in packed.items():
            self.folders[reader] = scratch / reader
            pack_shards(self.folder, scratch / reader, shrinking, shard_size=10**9, threads=1)

    def measure(self) -> dict[str, Any]:
        """Time all readers, then all decoders; the result as plain values."""
        options = self.options
        readers = {name: partial(next, self._batches(folder)) for name, folder in self.folders.items()}
        timings = take_turns({**readers, TIMM: partial(next, self._timm())}, options.repeats, options.seconds)
        encoded, shrunk = (_read_encoded(folder) for folder in (self.folder, self.folders[self.shrunk]))
        decoders = take_turns(
            {name: partial(_decode_all, decode, encoded) for name, decode in _decoders().items()},
            options.repeats,
            min(options.seconds, 1.0),
        )
        return {
            "resolution": options.resolution,
            "batch_size": options.batch_size,
            "kilobytes": {"as_given": _kilobytes(encoded), "shrunk": _kilobytes(shrunk)},
            "images_per_second_and_core": _rates(timings, options.batch_size, TIMM),
            "decoding_alone": _rates(decoders, RUN, PILLOW),
        }

    def _batches(self, folder: Path) -> Iterator[object]:
        loader = load_images(
            _data(folder),
            0,
            self.options.resolution,
            world=start_world(Runtime(DEVICE="cpu")),
            device=torch.device("cpu"),
        ).training(self.options.batch_size)
        return chain.from_iterable(map(loader.epoch, count()))

    def _timm(self) -> Iterator[object]:
        """timm's training loader with the same augmentation: its default, which normalises whole batches."""
        import_torchvision()  # slow; timm needs it
        from timm.data import ImageDataset, create_loader

        augment, data = Augment(), _data(self.folder)
        loader = create_loader(
            ImageDataset(str(self.folder / "train")),
            (3, self.options.resolution, self.options.resolution),
            self.options.batch_size,
            is_training=True,
            scale=augment.scale,
            ratio=augment.ratio,
            hflip=augment.flip,
            color_jitter=augment.color_jitter,
            interpolation=data.interpolation,
            num_workers=0,
            persistent_workers=False,
            pin_memory=False,
            device=torch.device("cpu"),
        )
        return chain.from_iterable(loader for _ in count())


def _read_encoded(folder: Path) -> list[bytes]:
    examples = cast(EncodedImages, open_dataset(_data(folder)).train)  # an image folder's are
    return [examples.encoded(index) for index in range(RUN)]


def _data(folder: Path) -> Data:
    return Data(NAME="image_folder", PATH=str(folder), LOADER="workers", WORKERS=0, SEARCH_FRACTION=0.0)


def write_photographs(folder: Path, number: int) -> Path:
    """An image folder of JPEGs whose spectrum, and so whose size, is that of photographs."""
    random = np.random.default_rng(0)
    for split, images in (("train", number), ("val", CLASSES)):
        for index in range(images):
            path = folder / split / f"class_{index % CLASSES}" / f"{index:05}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            photograph(random, *SIZE).save(path, quality=92)
    return folder


def photograph(random: np.random.Generator, width: int, height: int) -> Image.Image:
    """Noise with amplitudes that fall with the frequency, as those of natural images do, and correlated colours."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = 1.0
    spectrum = random.standard_normal((3, *frequency.shape, 2)).view(complex)[..., 0] / frequency**1.2
    light, red, blue = np.fft.irfft2(spectrum, s=(height, width))
    pixels = np.stack([light + 0.3 * red, light, light + 0.3 * blue], -1)
    return Image.fromarray((127 + 50 * pixels / pixels.std()).clip(0, 255).astype(np.uint8))


def _decoders() -> dict[str, Callable[[bytes], object]]:
    """Pillow, and the installed ones of its rivals: JPEG bytes -> RGB pixels."""
    decoders: dict[str, Callable[[bytes], object]] = {PILLOW: _decode_pillow}
    for name, module in (("simplejpeg", "simplejpeg"), ("OpenCV", "cv2")):
        try:
            library = import_module(module)
        except ImportError:
            continue
        decoders[name] = library.decode_jpeg if name == "simplejpeg" else partial(_decode_opencv, library)
    return decoders


def _decode_pillow(encoded: bytes) -> object:
    return Image.open(io.BytesIO(encoded)).convert("RGB")


def _decode_opencv(library: Any, encoded: bytes) -> object:
    return library.cvtColor(library.imdecode(np.frombuffer(encoded, np.uint8), 1), library.COLOR_BGR2RGB)


def _decode_all(decode: Callable[[bytes], object], images: Sequence[bytes]) -> None:
    for image in images:
        decode(image)


def _kilobytes(images: Sequence[bytes]) -> float:
    return round(sum(map(len, images)) / len(images) / 1e3, 1)


def _rates(timings: dict[str, Timing], images: int, rival: str) -> dict[str, dict[str, float]]:
    return {
        name: {**timing.rates(images), "ratio": round(timing.ratio(timings[rival]), 3)}
        for name, timing in timings.items()
    }


def _show(result: dict[str, Any]) -> None:
    size, kilobytes = result["resolution"], result["kilobytes"]
    titles = {
        "images_per_second_and_core": f"training batches of {result['batch_size']}, {size} x {size}\n"
        f"JPEGs of {kilobytes['as_given']} kB, shrunk {kilobytes['shrunk']} kB",
        "decoding_alone": "decoding alone, as given",
    }
    for key, title in titles.items():
        table = Table(title=title)
        rival = TIMM if TIMM in result[key] else PILLOW
        for column in ("", "images/s/core", "lowest", "highest", f"against {rival}"):
            table.add_column(column, justify="right" if column else "left")
        for name, rate in result[key].items():
            table.add_row(
                name, *(f"{rate[one]:.1f}" for one in ("median", "lowest", "highest")), f"{rate['ratio']:.3f}"
            )
        Console().print(table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.speed data", description=__doc__)
    parser.add_argument("--data", help="folder with train/<class>/* and val/; default: images made here")
    parser.add_argument("--images", type=positive, default=256, help="so many are made; default: %(default)s")
    parser.add_argument("--resolution", type=resolution, default=224, help="pixels; default: %(default)s")
    parser.add_argument("--shorter-side", type=positive, default=256, help="of shrunk images; default: %(default)s")
    parser.add_argument("--batch-size", type=positive, default=32, help="default: %(default)s")
    add_repeats(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser
