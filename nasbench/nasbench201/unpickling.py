"""Pickled benchmark files, read through a list of what may be named in them: nothing else is ever called.

The layouts: torch's zip file, torch's older stream of pickles, and NATS-Bench's bz2-compressed pickle.
"""

from __future__ import annotations

import bz2
import io
import pickle
import re
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from configs.errors import DataError

TORCH_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of torch's older layout; two more come before the content
_REFUSED = "it asks for {}, which no benchmark file needs"
NUMBERS = "fiub"  # kinds of numpy scalars
BZIP, ZIP = b"BZh", b"PK\x03\x04"
BROKEN = (EOFError, OSError, ValueError, TypeError, LookupError, AttributeError, pickle.UnpicklingError, MemoryError)


class SafeUnpickler(pickle.Unpickler):
    """Plain values, numpy scalars, and the tensors of trained weights; all else is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """What stands in for a global.

        Raises:
            UnpicklingError: it is not one that benchmark files need.
        """
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(_REFUSED.format(f"{module}.{name}"))
        return _ALLOWED[module, name]


class _Type:
    """Stands in for numpy.dtype: a kind and size, then the byte order as its state."""

    def __init__(self, code: str, *_: object) -> None:
        self.dtype = np.dtype(code) if code[:1] in NUMBERS and code[1:].isdigit() else None

    def __setstate__(self, state: tuple) -> None:
        if self.dtype is not None and state[1] in ("<", ">", "|"):
            self.dtype = self.dtype.newbyteorder(state[1])


def _scalar(kind: _Type, content: bytes) -> Any:
    if not isinstance(kind, _Type) or kind.dtype is None:
        raise pickle.UnpicklingError("it holds a numpy value that is no number")
    return np.frombuffer(content, kind.dtype)[0]


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How older pickles write bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding!r}")
    return text.encode("latin1")


def _load_storage(content: bytes) -> Any:
    """A tensor's values, which plain pickles hold as a file of torch's."""
    import torch  # slow, and only trained weights need it

    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _rebuild_tensor(*arguments: Any) -> Any:
    from torch._utils import _rebuild_tensor_v2

    return _rebuild_tensor_v2(*arguments)


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch.storage", "_load_from_bytes"): _load_storage,
}


def load_pickle(path: Path) -> Any:
    """The content of a file of one of the layouts; tensors in it are read only from bz2-compressed pickles.

    Raises:
        DataError: it is not there, cut off, corrupt, or names something that is not on the list.
    """
    with explaining(path), open_pickle(path) as file:
        return SafeUnpickler(file).load()


def load_weights(path: Path) -> Any:
    """The content of a file that may hold tensors, of any of the layouts; raises as `load_pickle`."""
    with explaining(path):
        with path.open("rb") as file:
            if file.read(len(BZIP)) == BZIP:
                return load_pickle(path)
        import torch

        allow_numbers()
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            named = re.search(r"GLOBAL (\S+)", str(error))
            raise pickle.UnpicklingError(_REFUSED.format(named[1] if named else "something")) from error


def allow_numbers() -> None:
    """Let torch's own safe loader read numpy's numbers, which official files hold; nothing where torch is not loaded.

    With that the published `torch.load("000157-FULL.pth")` works as it stands.
    """
    if torch := sys.modules.get("torch"):
        from numpy._core.multiarray import scalar

        types = {type(np.dtype(code)) for code in "fdilqbB?"}
        torch.serialization.add_safe_globals([(scalar, "numpy.core.multiarray.scalar"), scalar, np.dtype, *types])


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Tell which file could not be read: DataError in place of what broken pickles raise."""
    try:
        yield
    except DataError:
        raise
    except (*BROKEN, zipfile.BadZipFile) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).split("\n")[0]
        raise DataError(f"{path} cannot be read ({reason or type(error).__name__}): get the file again") from error


@contextmanager
def open_pickle(path: Path) -> Iterator[IO[bytes]]:
    """A file at the beginning of the content's pickle; raises what broken files raise."""
    with path.open("rb") as file:
        head = file.read(len(ZIP))
        file.seek(0)
        if head.startswith(BZIP):
            with bz2.BZ2File(file) as content:
                yield content
        elif head == ZIP:
            with zipfile.ZipFile(file) as archive, archive.open(_find_member(archive)) as member:
                yield member
        else:
            _skip_torch_head(file)
            yield file


def _find_member(archive: zipfile.ZipFile) -> str:
    found = [name for name in archive.namelist() if name.rsplit("/", 1)[-1] == "data.pkl"]
    if len(found) != 1:
        raise ValueError("a zip file, but none that torch wrote")
    return found[0]


def _skip_torch_head(file: IO[bytes]) -> None:
    """Go past the three pickles before the content where the file is of torch's older layout."""
    if SafeUnpickler(file).load() == TORCH_MAGIC:
        SafeUnpickler(file).load()
        SafeUnpickler(file).load()
    else:
        file.seek(0)
