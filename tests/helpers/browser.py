"""The machine's browser, without a window; tests that need it are skipped where there is none."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

PATIENCE = 120_000  # milliseconds: a machine may be busy


@contextmanager
def chromium() -> Iterator[Any]:
    """A running Chromium, as Playwright knows it."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is an optional extra")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not program:
        pytest.skip("no browser: apt-get install chromium")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=program, args=sandbox, timeout=PATIENCE)
        yield opened
        opened.close()
