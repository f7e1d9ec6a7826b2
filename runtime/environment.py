"""What a run ran on, for environment.json: enough to repeat it, nothing that identifies a person or a machine."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from runtime.world import World

PACKAGES = ("torch", "torchvision", "timm", "torch_npu", "numpy", "pydantic", "safetensors", "tensorboard")


def describe_environment(world: World) -> dict[str, Any]:
    """Versions, device, processes, commit, command line and date."""
    return {
        "versions": {"python": platform.python_version(), **_installed_versions()},
        "device": device_name(world.device),
        "processes": world.size,
        "threads": torch.get_num_threads(),
        "commit": _commit(),
        "command": describe_command(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def describe_command() -> str:
    """The command line of this process."""
    return shlex.join(["python", *sys.orig_argv[1:]])


def _installed_versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def device_name(device: torch.device) -> str:
    """What the machine calls a device."""
    if device.type != "cpu":
        module = torch.get_device_module(device)
        return module.getdevice_name(device) if hasattr(module, "get_device_name") else device.type
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).resolve().parent.parent), "rev-parse", "HEAD"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None
