"""How a script ends: a user's error is one message and exit status 1, a bug keeps its traceback, a signal is quiet."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable

import torch

from configs.errors import ConfigError, OnePathError, ProcessError, TrainingError
from runtime.interruption import Interrupted, interruption
from runtime.world import stop_world

PATIENCE = 2.0  # seconds within which a launcher stops the processes beside one that failed
_ALIKE = (ConfigError, TrainingError)  # what every process raises: told once


def run(main: Callable[[], None]) -> None:
    """Call a script's main function and leave the process group, whatever happens.

    The main process speaks at once. The others wait first: where it failed alike, or where a neighbour's failure broke
    their connection, the launcher stops them in that time, and only one message is seen. What all raise
    alike the main process tells alone.
    """
    rank, size = (_count(name, default) for name, default in (("RANK", 0), ("WORLD_SIZE", 1)))
    try:
        with interruption.running():
            main()
    except OnePathError as error:
        if isinstance(error, ProcessError) and interruption.number:  # the others were asked to end as well
            sys.exit(Interrupted(interruption.number).status)
        if rank > 0 or isinstance(error, ProcessError):
            time.sleep(PATIENCE)
        if rank == 0 or not isinstance(error, _ALIKE):
            prefix = f"[rank {rank}] " if size > 1 and not isinstance(error, _ALIKE) else ""
            print(f"{prefix}error: {_message(error)}", file=sys.stderr, flush=True)
        sys.exit(1)
    except Interrupted as signal:
        if rank == 0 and interruption.saved:
            print(f"{signal}: {interruption.saved} holds the run, RESUME_PATH=auto continues it", file=sys.stderr)
        sys.exit(signal.status)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        if size > 1:
            time.sleep(PATIENCE)
        if not _is_out_of_memory(error):
            raise
        print(f"error: {_explain_memory(error)}", file=sys.stderr, flush=True)
        sys.exit(1)
    finally:
        stop_world()


def _count(variable: str, default: int) -> int:
    """A launcher's variable; where it is no number, `start_world` tells."""
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else default


def _is_out_of_memory(error: Exception) -> bool:
    """Whether a device or the host (whose allocator has no error of its own) could not give what was asked for."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "DefaultCPUAllocator" in str(error)


def _explain_memory(error: Exception) -> str:
    found = re.search(r"[Tt]ried to allocate [^.]*(\.\d+ \w+)?", str(error))
    asked = f" ({found[0]})" if found else ""
    return f"out of memory{asked}: lower TRAIN.BATCH_SIZE, TRAIN.EVALUATION_BATCH_SIZE or DATA.IMAGE_SIZE"


def _message(error: OnePathError) -> str:
    """The error's text, without the traceback that a DataLoader worker wraps around it."""
    text = str(error)
    if not text.startswith("Caught "):
        return text
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    return re.split(rf"^{re.escape(name)}: ", text, flags=re.MULTILINE)[-1].strip()
