from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from configs.errors import ConfigError, DeviceError
from runtime.launching import become_launcher, device_environment, launch_command


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: torch.device("cuda"))
    monkeypatch.setattr(torch, "get_device_module", lambda device: SimpleNamespace(device_count=lambda: 4))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("four_gpus")
@pytest.mark.parametrize(("seen", "chosen"), [("", "1,3"), ("4,5,6,7", "5,7"), ("GPU-a,GPU-b,c,d", "GPU-b,d")])
def test_a_job_sees_the_chosen_of_what_is_seen(monkeypatch: pytest.MonkeyPatch, seen: str, chosen: str) -> None:
    if seen:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
    assert device_environment("auto", (1, 3))["CUDA_VISIBLE_DEVICES"] == chosen
    assert device_environment("cpu", (0,)).get("CUDA_VISIBLE_DEVICES", "") == seen


@pytest.mark.usefixtures("four_gpus")
def test_an_absent_device_is_named() -> None:
    with pytest.raises(DeviceError, match=r"3 device\(s\) asked for, and 4, 9 .* is not there: .* 4 cuda device"):
        device_environment("auto", (0, 9, 4))
    with pytest.raises(DeviceError, match=r"RUNTIME\.DEVICE=npu"):
        device_environment("npu", (0,))


def test_an_address_of_another_machine_is_refused() -> None:
    assert "--nproc-per-node=3" in launch_command("retrain.py", [], 3)
    with pytest.raises(ConfigError, match="not one of this machine"):
        launch_command("retrain.py", [], 3, "192.0.2.1")


def test_a_launched_process_launches_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    become_launcher((0, 1), "cpu", "127.0.0.1")
