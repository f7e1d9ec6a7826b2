"""A case of the model zoo's scripts: `python -m tools.cases full --devices=8 --data_path=…`, of test/case.sh."""

from __future__ import annotations

if __name__ == "__main__":  # before the slow imports: Ctrl-C is quiet from the start
    from runtime.interruption import handle_signals

    handle_signals()

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from configs.errors import TrainingError
from runtime.interruption import Interrupted
from runtime.launching import device_environment, launch_command
from runtime.scripts import run
from tools.cases.case import ROOT, Case, Job, read_case
from tools.cases.reporting import print_closing, read_figures, write_logs


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the jobs of a case, write its logs, print its closing lines.

    Raises:
        OnePathError: an argument is wrong, or a job failed.
    """
    case = read_case(sys.argv[1:] if arguments is None else arguments)
    if case.kind == "performance":
        shutil.rmtree(case.folder, ignore_errors=True)  # of the last time; a full training goes on with its own
    case.output.mkdir(parents=True, exist_ok=True)
    log = case.output / f"train_{case.devices[0]}.log"
    print(f"{case.name}: the log is {log}", flush=True)
    with log.open("wb") as file:
        for job in case.jobs():
            run_job(case, job, file)
    figures = read_figures(case)
    write_logs(case, figures)
    print_closing(figures)


def run_job(case: Case, job: Job, log: IO[bytes]) -> None:
    """Run a script, with a launcher where there are several devices; a signal to this process is handed on.

    Raises:
        TrainingError: it failed; the message is the script's own.
    """
    command = [sys.executable, job.script, *job.arguments]
    if len(case.devices) > 1:
        command = launch_command(job.script, job.arguments, len(case.devices))
    environment = device_environment(case.device, case.devices)
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT) as process:
        try:
            status = process.wait()
        except Interrupted:
            process.terminate()
            raise
    if status:
        raise TrainingError(f"{job.script} ended with status {status}: {find_error(Path(log.name))}")


def find_error(log: Path) -> str:
    """What a log says of the end of a job: its message, else where to look."""
    text = log.read_text(encoding="utf-8", errors="replace")
    messages = re.findall(r"^(?:\[rank \d+\] )?error: (.+(?:\n  .+)*)", text, flags=re.MULTILINE)
    return f"{messages[0]} (in {log})" if messages else f"see the end of {log}"


if __name__ == "__main__":
    run(main)
