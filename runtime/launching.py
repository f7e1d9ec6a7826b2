"""Starting the processes of a job on devices of this machine, where no launcher has."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence

from configs.errors import ConfigError
from runtime.device import choose_devices

VISIBLE = {"cuda": "CUDA_VISIBLE_DEVICES", "npu": "ASCEND_RT_VISIBLE_DEVICES"}  # the drivers' own variables


def launch_command(script: str, arguments: Sequence[str], processes: int, address: str = "127.0.0.1") -> list[str]:
    """The command that runs a script in so many processes, which meet at an address of this machine.

    Raises:
        ConfigError: the address is not one of this machine.
    """
    try:
        with socket.socket() as trial:
            trial.bind((address, 0))
    except OSError as error:
        raise ConfigError(
            f"the address {address} is not one of this machine ({error.strerror or error}); for many machines start "
            "with torchrun"
        ) from error
    launcher = ["torch.distributed.run", "--standalone", f"--local-addr={address}", f"--nproc-per-node={processes}"]
    return [sys.executable, "-m", *launcher, script, *arguments]


def device_environment(name: str, devices: Sequence[int]) -> dict[str, str]:
    """This process's environment, in which a job sees only some of the devices that this process sees.

    Args:
        name: as RUNTIME.DEVICE.
        devices: their numbers, from 0.

    Raises:
        DeviceError: one of them is not there.
    """
    kind = choose_devices(name, devices)
    if kind not in VISIBLE:
        return dict(os.environ)
    # the driver's own numbers of what this process sees, where that is limited
    seen = os.environ.get(VISIBLE[kind], "").split(",")
    chosen = [seen[device] if any(seen) else str(device) for device in devices]
    return {**os.environ, VISIBLE[kind]: ",".join(chosen)}


def become_launcher(devices: Sequence[int], name: str, address: str) -> None:
    """Start this script anew with one process for each device, in place of this process; does not return.

    Where a launcher has started this process already, nothing happens.

    Raises:
        DeviceError, ConfigError: as `device_environment` and `launch_command`.
    """
    if "WORLD_SIZE" in os.environ:
        return
    environment = device_environment(name, devices)
    command = launch_command(sys.argv[0], sys.argv[1:], len(devices), address)
    os.execve(command[0], command, environment)
