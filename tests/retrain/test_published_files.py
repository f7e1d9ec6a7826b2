"""Files in the layouts in which Cream's networks were published: read completely, or refused with what they hold."""

from __future__ import annotations

import hashlib
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from configs.errors import CheckpointError
from runtime.checkpoint import load_file, save_file
from runtime.seeds import make_generator
from supernet.catalog import PUBLISHED, build_network, compare_with_published, select
from supernet.weights import load_weights, network_weights

# SHA-256 of the published checkpoints' lines `key [shape]`, in their order
PUBLISHED_KEYS = {
    "14": "03a51f26841207e38501abcf68298778872972949323e3413238bc18214f9404",
    "43": "f0ae9bc0b88dcf59be6ecbc2b230925f67b0242e20b61f89223bb2cddced168a",
    "114": "30bb55ddd897b30f1b563784cddddd280bef82a9cc9462592d15e7497a39a563",
    "287": "710a42ccd446ef8d82376317fd7c1507425aeb74857bd4c999d85ad476bfdfd6",
    "481": "a5a622feccb9176aa9c1adcd6b9753aee4c4dfc0a6857dd959865c91e608d1c3",
    "604": "a8a1023b24ddd460a33abe2c316f5ee80b858f9dde08d78cd2ddfafb3b0c4dcc",
}
LAYOUTS = [(wrap, prefix) for wrap in (None, "state_dict", "state_dict_ema") for prefix in ("", "module.")]


def write_published(path: Path, weights: dict[str, torch.Tensor], wrap: str | None, prefix: str) -> None:
    """A file as the release's saver (timm's of its time) wrote it."""
    weights = {prefix + key: value for key, value in weights.items()}
    save_file({"epoch": 500, "arch": "Childnet", wrap: weights, "version": 2} if wrap else weights, path)


@pytest.mark.parametrize(("name", "layout"), list(zip(PUBLISHED_KEYS, LAYOUTS)))
def test_a_published_file_loads_completely(name: str, layout: tuple[str | None, str], tmp_path: Path) -> None:
    """Every key and shape as published, in order; a layout for each network (and all of them for one, below)."""
    theirs = build_network(name, generator=make_generator(1, "theirs")).state_dict()
    lines = "\n".join(f"{key} {list(value.shape)}" for key, value in theirs.items())
    assert hashlib.sha256(lines.encode()).hexdigest() == PUBLISHED_KEYS[name]
    write_published(tmp_path / "file.pth.tar", theirs, *layout)
    kind, weights = network_weights(load_file(tmp_path / "file.pth.tar"), "file")
    assert kind == ("ema" if layout[0] == "state_dict_ema" else "plain")
    mine = build_network(name, generator=make_generator(2, "mine"))
    load_weights(mine, weights, "file")
    torch.testing.assert_close(mine.state_dict(), theirs, rtol=0, atol=0)


@pytest.mark.parametrize(("wrap", "prefix"), LAYOUTS)
def test_each_layout_of_one_network(wrap: str | None, prefix: str, tmp_path: Path) -> None:
    theirs = build_network("14", generator=make_generator(1, "theirs")).state_dict()
    write_published(tmp_path / "file.pth.tar", theirs, wrap, prefix)
    weights = network_weights(load_file(tmp_path / "file.pth.tar"), "file").tensors
    assert list(weights) == list(theirs)
    assert all(torch.equal(weights[key], value) for key, value in theirs.items())


def test_settings_beside_the_weights_are_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """timm's saver stores argparse's namespace, or yacs's nodes, with every checkpoint; yacs need not be there."""
    node = type("CfgNode", (dict,), {"__module__": "yacs.config"})
    modules = {"yacs": SimpleNamespace(), "yacs.config": SimpleNamespace(CfgNode=node)}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    settings = node(lr=0.064, net=node(se=True))
    settings.__dict__["__immutable__"] = True
    weights = {"module.weight": torch.ones(2)}
    for number, stored in enumerate((settings, Namespace(lr=0.064, model="287"))):
        torch.save({"args": stored, "state_dict_ema": weights}, tmp_path / f"{number}.pth.tar")
    for name in modules:
        monkeypatch.delitem(sys.modules, name)
    for number in (0, 1):
        tensors = network_weights(load_file(tmp_path / f"{number}.pth.tar"), "file").tensors
        assert torch.equal(tensors["weight"], torch.ones(2))


def test_the_kind_of_weights_can_be_chosen() -> None:
    last, averaged = {"weight": torch.zeros(1)}, {"module.weight": torch.ones(1)}
    both = {"epoch": 3, "state_dict": last, "state_dict_ema": averaged}
    assert network_weights(both, "file", "ema").tensors["weight"] == 1
    assert network_weights(both, "file", "plain").tensors["weight"] == 0
    assert network_weights(last, "file", "plain").tensors["weight"] == 0


@pytest.mark.parametrize(
    ("held", "wanted", "message"),
    [
        ("state_dict", "ema", "TEST.WEIGHTS=ema: file has no state_dict_ema, only state_dict; set TEST.WEIGHTS=auto"),
        ("state_dict_ema", "plain", "TEST.WEIGHTS=plain: file has no state_dict, only state_dict_ema; set"),
        (None, "ema", "TEST.WEIGHTS=ema: file has no state_dict_ema, only a bare mapping of weights; set"),
    ],
)
def test_weights_that_are_not_there_are_refused(held: str | None, wanted: str, message: str) -> None:
    weights = {"weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=message):
        network_weights({held: weights} if held else weights, "file", wanted)


@pytest.mark.parametrize("state", [{}, {"state_dict": [1.0]}, {"state_dict": {"epoch": 3}}])
def test_a_file_without_weights_is_refused(state: dict) -> None:
    with pytest.raises(CheckpointError, match="file holds no weights"):
        network_weights(state, "file")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_list_as_input_is_named(name: str) -> None:
    """Its indices are honoured, so that 14 to 287 differ from the released networks; 481 and 604 have no such stage."""
    published = PUBLISHED[name]
    chosen, released = select(-1, published.architecture, published.space), select(name)
    note = compare_with_published(chosen)
    assert f"MODEL_SELECTION={name} " in f"{note} " or f"MODEL_SELECTION={name}," in note
    assert str(chosen.architecture) == published.architecture
    if name in ("14", "43", "114", "287"):
        assert "is the published" in note
        assert str(released.architecture) in note
        assert chosen.architecture != released.architecture
    else:
        assert "is the network of" in note
        assert chosen.architecture == released.architecture
    built = select(-1, str(released.architecture), published.space)
    assert f"is the network of MODEL_SELECTION={name}," in compare_with_published(built)


def test_no_other_list_is_named() -> None:
    assert compare_with_published(select(-1, "[[0],[2],[3,3],[3,1,3],[3,3,3,3],[3,3,3],[0]]")) == ""
    assert compare_with_published(select(-1, "[[0],[1],[1,1]]", "fashion")) == ""
