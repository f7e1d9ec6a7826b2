"""Scripts as a user runs them, but for the seconds of importing torch."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Ended(NamedTuple):
    """The largest exit status, and what the first process wrote."""

    status: int
    stdout: str
    stderr: str


class WarmScripts:
    """Forks of one `warm_server` process."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self._outputs = {"stdout": folder / "stdout", "stderr": folder / "stderr"}
        command = [sys.executable, str(Path(__file__).with_name("warm_server.py"))]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", **environment}
        self.server = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.server.stdout
        assert self.server.stdout.readline() == "ready\n"

    def run(self, command: str, processes: int = 1, **environment: str) -> Ended:
        """A script and its arguments as one line; more than one process get a launcher's variables."""
        launch = _launchers_variables(processes) if processes > 1 else [{}]
        environments = [{**environment, **variables} for variables in launch]
        request = {"arguments": shlex.split(command), "environments": environments}
        request |= {name: str(path) for name, path in self._outputs.items()}
        assert self.server.stdin
        assert self.server.stdout
        print(json.dumps(request), file=self.server.stdin, flush=True)
        status = int(self.server.stdout.readline())
        return Ended(status, *(path.read_text(errors="replace") for path in self._outputs.values()))


@contextmanager
def warm_scripts(folder: Path, **environment: str) -> Iterator[WarmScripts]:
    """A server with these variables; its scripts write what they print into `folder`."""
    warm = WarmScripts(folder, environment)
    yield warm
    warm.server.communicate(timeout=60)


def _launchers_variables(processes: int) -> list[dict[str, str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]
