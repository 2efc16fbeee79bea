"""A program that ends with the process that started it, so that a worker that dies leaves no training behind.

python -m scripts.sweep.child PROGRAM ARGUMENTS, with a pipe for standard input that the other process holds open
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):  # not by the file object, whose lock would be in the interpreter's way
        pass
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
