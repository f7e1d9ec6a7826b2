import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from configs.errors import ConfigError, DataError
from configs.schema import Runtime as RuntimeConfig
from runtime import scripts
from runtime.scripts import run
from runtime.world import start_world


class Broken(Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        raise DataError("picture 7 is broken:\nsave it again")


def raising(error: BaseException):
    def main() -> None:
        raise error

    return main


def finish(main, capsys, rank: int = 0, size: int | str = 1, monkeypatch=None) -> tuple[int, str]:
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", str(size))
    monkeypatch.setattr(scripts, "PATIENCE", 0.01)
    with pytest.raises(SystemExit) as caught:
        run(main)
    return caught.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "rank", "size", "expected"),
    [
        (DataError("bad"), 0, 1, "error: bad\n"),
        (DataError("bad"), 0, 2, "[rank 0] error: bad\n"),
        (DataError("bad"), 1, 2, "[rank 1] error: bad\n"),
        (ConfigError("bad"), 0, 2, "error: bad\n"),
        (ConfigError("bad"), 1, 2, ""),
    ],
)
def test_an_error_of_the_user_is_one_message(capsys, monkeypatch, error, rank: int, size: int, expected: str) -> None:
    assert finish(raising(error), capsys, rank, size, monkeypatch) == (1, expected)


def test_an_interruption_has_its_status(capsys, monkeypatch) -> None:
    assert finish(raising(KeyboardInterrupt()), capsys, monkeypatch=monkeypatch) == (130, "")


def test_a_bug_keeps_its_traceback(monkeypatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(ZeroDivisionError):
        run(lambda: print(1 / 0))


@pytest.mark.parametrize("ask", [lambda: bytearray(2**62), lambda: torch.empty(2**50)])
def test_too_little_memory_is_one_message(capsys, monkeypatch, ask) -> None:
    status, text = finish(ask, capsys, monkeypatch=monkeypatch)
    assert status == 1
    assert text.startswith("error: out of memory")
    assert "lower TRAIN.BATCH_SIZE" in text
    assert len(text.splitlines()) == 1


def test_an_error_in_a_loader_worker_loses_its_traceback(capsys, monkeypatch) -> None:
    def main() -> None:
        next(iter(DataLoader(Broken(), num_workers=1)))

    expected = "error: picture 7 is broken:\nsave it again\n"
    assert finish(main, capsys, monkeypatch=monkeypatch) == (1, expected)


def test_a_launchers_variable_that_is_no_number_is_one_message(capsys, monkeypatch) -> None:
    expected = "error: a launcher's variable WORLD_SIZE is 'two', not a number; start with torchrun\n"
    assert finish(lambda: start_world(RuntimeConfig(DEVICE="cpu")), capsys, 0, "two", monkeypatch) == (1, expected)
