"""How fast is the depthwise convolution's weight gradient on small images, beside the library's?"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from configs.schema import Runtime
from runtime.seeds import make_generator
from runtime.world import start_world
from supernet.blocks.depthwise import depthwise_conv
from tools.arguments import positive
from tools.speed.timing import add_repeats, take_turns

SHAPES = [(240, 4, 5), (480, 2, 3), (480, 2, 5), (576, 1, 3), (1152, 1, 5), (240, 4, 3), (96, 7, 5)]
OURS, LIBRARY = "ours", "torch"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print milliseconds of forward pass and both gradients for shapes of mobile networks on 32 x 32 images.

    The last two shapes are those of larger images than their kernel, which both leave to the library.
    """
    options = _parser().parse_args(arguments)
    start_world(Runtime(DEVICE="cpu", THREADS=options.threads))
    rows = [_measure(options, *shape) for shape in SHAPES]
    if options.json:
        print(json.dumps(rows))
        return
    table = Table(title=f"depthwise convolution with gradients, batch {options.batch_size}, ms")
    for column in ("channels", "size", "kernel", OURS, LIBRARY, "ratio"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(table)


def _measure(options: argparse.Namespace, channels: int, size: int, kernel: int) -> dict[str, float]:
    generator = make_generator(0, "tools.speed depthwise")
    images = torch.randn(options.batch_size, channels, size, size, generator=generator)
    images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(channels, 1, kernel, kernel, generator=generator)
    weight = weight.to(memory_format=torch.channels_last).requires_grad_()
    library = partial(functional.conv2d, padding=kernel // 2, groups=channels)
    contestants: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        OURS: partial(depthwise_conv, stride=1),
        LIBRARY: library,
    }
    steps = {name: partial(_differentiate, conv, images, weight) for name, conv in contestants.items()}
    timings = take_turns(steps, options.repeats, options.seconds)
    times = {name: 1e3 * timing.median for name, timing in timings.items()}
    return {"channels": channels, "size": size, "kernel": kernel, **times, "ratio": times[LIBRARY] / times[OURS]}


def _differentiate(conv: Callable[[Tensor, Tensor], Tensor], images: Tensor, weight: Tensor) -> None:
    torch.autograd.grad(conv(images, weight).sum(), (images, weight))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.speed depthwise", description=__doc__)
    parser.add_argument("--batch-size", type=positive, default=64, help="default: %(default)s")
    add_repeats(parser, seconds=0.2)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; default: all cores")
    parser.add_argument("--json", action="store_true", help="one JSON list")
    return parser
