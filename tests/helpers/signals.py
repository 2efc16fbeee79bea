"""Signals that stop a process, and work that meets one."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

STOPS = [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)]  # and the status that each ends a command with


def after(calls: int, work: Callable[..., Any], name: str, error: type[Exception] | None = None) -> Callable[..., Any]:
    """`work` that meets a signal once it was called so often; native code may make another error of its exception."""
    left = calls

    def met(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        found = work(*arguments, **options)
        if left == 0:
            try:
                signal.raise_signal(signal.Signals[name])
            except KeyboardInterrupt:
                if error is None:
                    raise
                raise error("returned a result with an exception set") from None
        return found

    return met
