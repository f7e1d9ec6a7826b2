"""Runs scripts in forks of one process that has imported the slow libraries already.

Each line on stdin is one request as JSON, {"arguments": ["train.py" or "-m", …], "environments": [{…}, …], "stdout":
path, "stderr": path}; a process for each environment, whose number is appended to the paths after the first. The answer
is the exit status, of several the largest. A fork becomes that script: its own process, output and exit.
"""

import gc
import importlib
import json
import os
import runpy
import sys
from typing import Any


def serve() -> dict[str, Any] | None:
    """Answer requests; returns one in each fork, and None in the server at the end of stdin."""
    for line in sys.stdin:
        request, children = json.loads(line), []
        for rank, environment in enumerate(request["environments"]):
            child = os.fork()
            if not child:
                paths = {name: request[name] + (str(rank) if rank else "") for name in ("stdout", "stderr")}
                return {**request, "environment": environment, **paths}
            children.append(child)
        statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(max(statuses, key=abs), flush=True)
    return None


def become(request: dict[str, Any]) -> None:
    for number, path in enumerate((os.devnull, request["stdout"], request["stderr"])):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
    os.environ.update(request["environment"])
    sys.argv = [argument for argument in request["arguments"] if argument != "-m"]
    status = 0
    try:
        if request["arguments"][0] == "-m":
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        status = int(end.code or 0)
    sys.stdout.flush()
    os._exit(status)  # taking torch down in an orderly way would last longer than most scripts


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    for script in ("train.py", "retrain.py", "test.py"):
        runpy.run_path(script)  # imports only: its name is not __main__
    for module in ("data.transforms", "sklearn.datasets", "tensorboard.summary.writer.record_writer", "timm.utils"):
        importlib.import_module(module)

    gc.freeze()  # else a collection in a fork would copy all that is shared
    print("ready", flush=True)
    if request := serve():
        become(request)
