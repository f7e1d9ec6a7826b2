from types import SimpleNamespace

import pytest
import torch

from configs.errors import DeviceError
from runtime import device as devices
from runtime.device import memory_format, select_device
from runtime.npu import configure_npu


def pretend(monkeypatch: pytest.MonkeyPatch, name: str | None, count: int = 0) -> list[int]:
    """Make torch report an accelerator; returns the indices that `set_device` is called with."""
    chosen: list[int] = []
    module = SimpleNamespace(device_count=lambda: count, set_device=chosen.append)
    accelerator = None if name is None else torch.device(name)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: accelerator)
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    return chosen


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_without_an_accelerator_the_cpu_serves_any_number_of_processes(monkeypatch, name: str) -> None:
    pretend(monkeypatch, None)
    assert select_device(name, local_rank=7) == torch.device("cpu")


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_each_process_gets_its_own_accelerator(monkeypatch, name: str) -> None:
    chosen = pretend(monkeypatch, "cuda", count=2)
    assert select_device(name, local_rank=1) == torch.device("cuda", 1)
    assert chosen == [1]


def test_cpu_is_honoured_beside_an_accelerator(monkeypatch) -> None:
    assert pretend(monkeypatch, "cuda", count=2) == []
    assert select_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "present", "part"),
    [("cuda", None, "only the cpu"), ("npu", None, "CANN"), ("npu", "cuda", "finds cuda here")],
)
def test_an_absent_device_is_refused(monkeypatch, name: str, present: str | None, part: str) -> None:
    pretend(monkeypatch, present, count=1)
    with pytest.raises(DeviceError, match=rf"RUNTIME.DEVICE={name}.*{part}"):
        select_device(name)


def test_more_processes_than_devices_are_refused_naming_both(monkeypatch) -> None:
    pretend(monkeypatch, "cuda", count=2)
    with pytest.raises(DeviceError, match=r"process 2 .* 2 cuda device\(s\)"):
        select_device("auto", local_rank=2)


def test_an_npu_is_configured_before_it_is_used(monkeypatch) -> None:
    pretend(monkeypatch, "cuda", count=1)  # this build of torch may not know the type npu
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: FakeNpu())
    calls: list[str] = []
    monkeypatch.setattr(devices, "configure_npu", lambda: calls.append("configured"))
    monkeypatch.setattr(torch, "device", lambda kind, index: (kind, index))
    assert select_device("npu") == ("npu", 0)
    assert calls == ["configured"]


class FakeNpu:
    type = "npu"


def test_npu_settings_are_made_where_they_exist(monkeypatch) -> None:
    compiled: dict[str, bool] = {}
    conv, config = (
        SimpleNamespace(allow_hf32=True),
        SimpleNamespace(),
    )  # of torch_npu's settings, config's are write-only
    npu = SimpleNamespace(set_compile_mode=lambda **mode: compiled.update(mode), conv=conv, config=config)
    monkeypatch.setattr(torch, "npu", npu, raising=False)
    configure_npu()
    assert compiled == {"jit_compile": False}
    assert conv.allow_hf32 is False
    assert config.allow_internal_format is False


def test_channels_last_is_refused_on_npu_only() -> None:
    assert memory_format(torch.device("cpu"), True) == torch.channels_last
    assert memory_format(torch.device("cpu"), False) == torch.contiguous_format
    assert memory_format(FakeNpu(), True) == torch.contiguous_format  # type: ignore[arg-type]
