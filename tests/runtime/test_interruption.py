"""Signals in small processes of their own, which import nothing slow."""

import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
HELD = """\
import time
from runtime.interruption import handle_signals, interruption
handle_signals()
with interruption.running():
    interruption.held = True
    print("ready", flush=True)
    while not interruption.number:
        time.sleep(0.01)
    print("noted", flush=True)
    time.sleep(60)
"""
FORKED = """\
import os, signal, time
from runtime.interruption import handle_signals
handle_signals()
if child := os.fork():
    time.sleep(0.2)
    os.killpg(0, signal.SIGINT)  # what a terminal does: this process ends, the forked one does not notice
print("ready", flush=True)
os.kill(os.getpid(), signal.SIGINT)
time.sleep(1)
print(os.getpgid(0) == os.getpid(), flush=True)
"""


def start(code: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)


def test_a_held_signal_is_noted_and_a_second_one_ends_the_process() -> None:
    process = start(HELD)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "noted\n"
    process.send_signal(signal.SIGTERM)  # forwarded by a launcher: the same request
    time.sleep(1.1)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130


def test_a_forked_process_leaves_the_signals_of_the_terminal_to_its_parent() -> None:
    process = start(FORKED)
    assert process.stdout is not None
    assert process.stdout.read().split() == ["ready", "True"]
    assert process.wait(timeout=10) == 130
