"""Command-line arguments that several tools share."""

from __future__ import annotations

import argparse
from decimal import Decimal


def add_window(parser: argparse.ArgumentParser) -> None:
    """Add a space, a resolution and bounds, which stay text, so that decimals are exact."""
    parser.add_argument("--space", default="cream", help="name or YAML file; default: %(default)s")
    parser.add_argument("--minimum", default="0", help="million MACs, inclusive; default: %(default)s")
    parser.add_argument("--maximum", required=True, help="million MACs, inclusive")
    parser.add_argument("--resolution", type=resolution, help="pixels; default: the space's own")
    parser.add_argument("--latency-maximum", help="ms by --table, inclusive; default: no second bound")
    parser.add_argument("--table", default="", help="JSON of measured layers: python -m tools.latency --build")


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add `--selection`, `--input-arch` and `--space`, which `supernet.catalog.select` takes."""
    parser.add_argument(
        "--selection", type=integer_or_text, default=-1, help="MODEL_SELECTION; default: -1, that is --input-arch"
    )
    parser.add_argument("--input-arch", help="an architecture of --space, as text, or a pick.json")
    parser.add_argument("--space", default="cream", help="name or YAML file; default: %(default)s")


def positive(text: str) -> int:
    """An integer of at least 1."""
    return _at_least(1, text)


def natural(text: str) -> int:
    """An integer of at least 0."""
    return _at_least(0, text)


def non_negative(text: str) -> float:
    """A number of at least 0, and finite."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def resolution(text: str) -> int:
    """Image height and width, 8 to 8192 pixels as in DATA.IMAGE_SIZE."""
    if _at_least(8, text) > 8192:
        raise argparse.ArgumentTypeError(f"{text} pixels are more than 8192")
    return int(text)


def integer_or_text(text: str) -> int | str:
    """The integer that a text is, else the text: MODEL_SELECTION as a YAML file would give it."""
    return int(text) if text.removeprefix("-").isdecimal() else text


def as_number(text: str) -> int | float:
    """The JSON number of a decimal text."""
    value = Decimal(text)
    return int(value) if value == value.to_integral_value() else float(value)


def _at_least(minimum: int, text: str) -> int:
    if not text.isdecimal() or int(text) < minimum:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {minimum}")
    return int(text)
