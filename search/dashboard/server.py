"""The web server for the dashboard of a review copy, which only this machine can reach."""

from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from search.dashboard.review_copy import ReviewCopy, check_installed
from search.errors import PortTakenError

_Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
"""WSGI: (environ, start_response) -> the body."""

_LOOPBACK: Final = "127.0.0.1"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # an open browser tab does not keep the server from ending


class _Handler(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Requests are not news; errors still are."""


def serve_review(copy: ReviewCopy, port: int, announce: Callable[[str], None]) -> None:
    """Serves the dashboard of a review copy on the loopback address until Ctrl-C.

    Args:
        copy: The review copy.
        port: The port; 0 for any free one.
        announce: Is told the address once the server listens.

    Raises:
        PortTakenError: when the port cannot be opened.
        DashboardMissingError: when optuna-dashboard is not installed.
    """
    check_installed()
    from optuna_dashboard import wsgi

    storage = JournalStorage(JournalFileBackend(str(copy.study_log)))
    dashboard = wsgi(storage, artifact_store=FileSystemArtifactStore(copy.artifacts))
    try:
        server = _Server((_LOOPBACK, port), _Handler)
    except OSError as error:
        raise PortTakenError(f"port {port} of {_LOOPBACK} cannot be had: {error.strerror}; try --port 0") from error
    with server:
        server.set_app(_for_this_machine(dashboard))
        announce(f"http://{_LOOPBACK}:{server.server_port}/dashboard")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def _for_this_machine(dashboard: _Application) -> _Application:
    """`dashboard`, for requests that name this machine. A page from elsewhere whose name was made to point here (DNS
    rebinding) is refused, for there is no login to stop it. Any port is accepted, as a tunnel has its own."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("HTTP_HOST", "").partition(":")[0] not in (_LOOPBACK, "localhost"):
            start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
            return [b"this is served to the machine that it runs on\n"]
        return dashboard(environ, start_response)

    return answer
