"""The demo's server: this machine alone, the standard library alone."""

from __future__ import annotations

import errno
import json
import re
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from nsc.console import log
from nsc.demo.trial import Choice, Trials
from nsc.errors import UserError, brief
from nsc.loading.find import DEFAULT_MODEL, all_models
from nsc.loading.folder import Description
from nsc.loading.resources import resource

HOST: Final = "127.0.0.1"
MOST_BYTES: Final = 32 << 20  # of a recording
LENGTH: Final = re.compile(r"\d{1,12}", re.ASCII)
SLOWEST: Final = 30.0  # seconds that a browser may keep the server waiting
PAGE: Final = resource("demo", "page")
KINDS: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


class DemoServer(ThreadingHTTPServer):
    """Serves the page and codes what it sends."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        """Opens the port, 0 for any that is free.

        Raises:
            UserError: it is taken.
        """
        if not 0 <= port < 1 << 16:
            raise UserError(f"expected a port from 0 to 65535, found {port}; choose another")
        try:
            super().__init__((HOST, port), DemoHandler)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            raise UserError(f"expected a free port, found {port} taken; choose another with --port") from None
        self.trials = Trials()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing where the browser no longer waits, as when a slider moves on; others as usual."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://{HOST}:{self.server_port}/"


class DemoHandler(BaseHTTPRequestHandler):
    """Answers one browser."""

    server: DemoServer
    timeout = SLOWEST

    def do_GET(self) -> None:
        """The page, its parts, and the list of models."""
        self._serve(self._page)

    def do_HEAD(self) -> None:
        """What GET answers, without it."""
        self._serve(self._page)

    def do_POST(self) -> None:
        """A recording as the body, the choice as the query: what became of it."""
        self._serve(self._trial)

    def _serve(self, answer: Callable[[], None]) -> None:
        """Answers, and says what went wrong: nothing that comes in ends without a status."""
        try:
            if not self._is_local():
                return self._refuse(HTTPStatus.FORBIDDEN, f"expected a page of {self.server.address}, found another")
            answer()
        except UserError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:
            log.info("the demo has met %r", error)
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, f"something went wrong ({type(error).__name__})")

    def _page(self) -> None:
        path = self._address().path
        if path == "/models":
            models = [_model(each) for each in all_models() if each.encodes]
            return self._answer(json.dumps(models).encode(), "application/json")
        file = {each.name: each for each in PAGE.iterdir()}.get(path[1:] or "index.html")
        if file is None or file.suffix not in KINDS:
            return self._refuse(HTTPStatus.NOT_FOUND, f"expected a part of the page, found {brief(path)}")
        return self._answer(file.read_bytes(), KINDS[file.suffix])

    def _trial(self) -> None:
        length = self.headers.get("Content-Length", "")
        is_number = LENGTH.fullmatch(length) is not None
        if not is_number or not 0 < int(length) <= MOST_BYTES:
            found = f"{length} bytes" if is_number else "no such length"
            line = f"expected a recording of at most {MOST_BYTES >> 20} MB, found {found}; choose a shorter one"
            return self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, line)
        query = dict(parse_qsl(self._address().query))
        choice, recording = Choice.read(query), self.rfile.read(int(length))
        result = self.server.trials.run(recording, query.get("name", "recording"), choice)
        return self._answer(json.dumps(result).encode(), "application/json")

    def _address(self) -> SplitResult:
        try:
            return urlsplit(self.path)
        except ValueError:
            raise UserError(f"expected an address, found {brief(self.path)}") from None

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the page shows what happened."""

    def _is_local(self) -> bool:
        """Whether the request is for this server and comes from its own page, not from another site's."""
        port = self.server.server_port
        hosts = [f"{name}:{port}" for name in (HOST, "localhost")]
        origin = self.headers.get("Origin")
        return self.headers.get("Host") in hosts and (origin is None or origin in [f"http://{each}" for each in hosts])

    def _answer(self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", "default-src 'self'; media-src blob:; img-src data:")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, status: HTTPStatus, line: str) -> None:
        self.close_connection = True  # a body that nobody reads may follow
        self._answer(json.dumps({"error": line}).encode(), "application/json", status)


def _model(model: Description) -> dict[str, Any]:
    return {
        "name": model.name,
        "kbps": model.kbps,
        "any_rate": model.any_rate,
        "default": model.name == DEFAULT_MODEL,
        "parameters": model.parameters[-1],
        "layers": len(model.parameters),
    }


def serve(port: int, *, opens_browser: bool) -> None:
    """Serves until Ctrl-C.

    Raises:
        UserError: the port is taken.
    """
    with DemoServer(port) as server:
        log.info("%s  (Ctrl-C ends it; nothing leaves this machine)", server.address)
        if opens_browser:
            import webbrowser

            webbrowser.open(server.address)
        server.serve_forever()
