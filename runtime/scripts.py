"""How a script ends: a user's error is one message and exit status 1, a bug keeps its traceback."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable

from configs.errors import ConfigError, OnePathError
from runtime.world import stop_world

PATIENCE = 2.0  # seconds within which a launcher stops the processes beside one that failed


def run(main: Callable[[], None]) -> None:
    """Call a script's main function and leave the process group, whatever happens.

    The main process speaks at once. The others wait first: where it failed alike, or where a neighbour's failure broke
    their connection, the launcher stops them in that time, and only one message is seen. A ConfigError is alike on all.
    """
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    try:
        main()
    except OnePathError as error:
        if rank > 0:
            time.sleep(PATIENCE)
        if rank == 0 or not isinstance(error, ConfigError):
            prefix = f"[rank {rank}] " if size > 1 and not isinstance(error, ConfigError) else ""
            print(f"{prefix}error: {_message(error)}", file=sys.stderr, flush=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception:
        if size > 1:
            time.sleep(PATIENCE)
        raise
    finally:
        stop_world()


def _message(error: OnePathError) -> str:
    """The error's text, without the traceback that a DataLoader worker wraps around it."""
    text = str(error)
    if not text.startswith("Caught "):
        return text
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    return re.split(rf"^{re.escape(name)}: ", text, flags=re.MULTILINE)[-1].strip()
