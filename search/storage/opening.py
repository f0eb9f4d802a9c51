"""Opens a study's storage from its URL; every fault is told in one line, and no password is shown."""

import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from search.errors import StorageError
from search.storage.journal import Journal
from search.storage.url import POSTGRESQL, normalised, redacted

_log = logging.getLogger("depthfinder.storage")

_CONNECT_S: Final = 10
_SILENCE_MS: Final = 30_000
_OUTAGE_S: Final = 30.0
_PAUSE_S: Final = 0.5
# Any number will do: processes that open a database at the same time wait for the one that makes its tables.
_TABLES_LOCK: Final = 0x64657074
# Pattern in the driver's message -> the cause and what to do. The first that matches counts.
_CAUSES: Final = {
    "password authentication failed": "the server refused the user or the password; correct the URL, PGPASSWORD or "
    ".pgpass",
    "no password supplied": "the server asks for a password; put it into PGPASSWORD or .pgpass",
    "no pg_hba.conf entry": "the server does not let this user in from this machine; allow it in its pg_hba.conf",
    'role ".*" does not exist': "there is no such user on the server; make it with createuser, or correct its name",
    'database ".*" does not exist': "there is no such database on the server; make it with createdb, or correct its "
    "name",
    "Connection refused": "nothing answers at this host and port; start the server or correct the URL",
    "No such file or directory": "nothing answers at this socket; start the server or name a host",
    "resolve host": "this host is not known; correct its name",
    "timeout": "the server did not answer in time; see whether it can be reached from here",
    "too many": "the server has no connection left; close some or raise its max_connections",
    "permission denied": "this user may not make or use the study's tables; GRANT it CREATE and USAGE on the schema",
    "terminating connection|server closed|connection is (lost|closed)": "the server ended the connection in the middle "
    "of a change; run the same command again",
    "database is locked": "another process holds the file; wait for it, or share the study by journal:/// or "
    "postgresql://",
    "file is not a database": "the file is not an SQLite database; name another",
    "malformed": "the database is damaged; restore it, or name another",
    "unable to open": "the file cannot be opened; look at its permissions",
    "readonly": "the file cannot be written; look at its permissions",
    "disk is full": "the disk is full; make room, then run the same command again",
}
_NO_DRIVER: Final = 'the driver is not installed: pip install "depthfinder[postgresql]"'


def open_storage(url: str) -> BaseStorage:
    """Opens the storage at a URL, and makes it if it does not exist; its folder or database has to exist.

    A password may be left to PGPASSWORD or .pgpass. A PostgreSQL server that goes away after it was open is waited for.

    Args:
        url: `sqlite:///FILE`, for one process; `journal:///FILE`, or a bare FILE.journal or FILE.log, for processes of
            one machine; or `postgresql://USER:PASSWORD@HOST/DATABASE`.

    Raises:
        StorageError: for any fault that keeps the storage from being used.
    """
    parsed = _parsed(normalised(url))
    if parsed.drivername == POSTGRESQL:
        with storage_faults(url):
            return _postgresql(parsed, url)
    path = _checked_file(parsed, url)
    if parsed.drivername == "journal":
        return JournalStorage(Journal(path))
    with storage_faults(url):
        return _mended(_checked_version(RDBStorage(_template(parsed), skip_compatibility_check=True), url), url)


def url_of_file(kind: str, path: Path) -> str:
    """The URL of the storage in this file, whatever characters its name has; `kind` is sqlite or journal."""
    return URL.create(kind, database=str(path)).render_as_string()


@contextmanager
def storage_faults(url: str) -> Iterator[None]:
    """A context manager and decorator that turns faults of the database at `url` into `StorageError`."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        raise StorageError(f"{redacted(url)}: {_cause(error, url)}") from None


def _parsed(url: str) -> URL:
    """The parsed URL, with a password from its query moved to the one place where nothing prints it."""
    parsed = sqlalchemy.make_url(url)
    if "password" not in parsed.query:
        return parsed
    password = parsed.query["password"]
    return parsed.difference_update_query(["password"]).set(password=password if isinstance(password, str) else None)


def _template(url: URL) -> str:
    """The URL as the text that Optuna takes, in which single braces would be places to fill in."""
    return url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")


def _checked_file(parsed: URL, url: str) -> Path:
    name = parsed.database
    if not name or name == ":memory:":
        raise StorageError(f"{redacted(url)} names no file to keep a study in: write {parsed.drivername}:///FILE")
    path = Path(name)
    if path.is_dir():
        raise StorageError(f"{redacted(url)}: {path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise StorageError(
            f"{redacted(url)}: there is no folder {path.parent}; make it (four slashes begin a path from the root)"
        )
    return path


def _postgresql(parsed: URL, url: str) -> RDBStorage:
    # A server that vanishes without a word is noticed after as long as one that restarts is waited for.
    arguments = {"connect_timeout": _CONNECT_S, "tcp_user_timeout": _SILENCE_MS}
    arguments = {name: value for name, value in arguments.items() if name not in parsed.query}
    try:
        once = sqlalchemy.create_engine(parsed, connect_args=arguments, poolclass=sqlalchemy.NullPool)
    except ImportError:
        raise StorageError(f"{redacted(url)}: {_NO_DRIVER}") from None
    with once.connect() as connection:
        connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_lock(_TABLES_LOCK)))
        storage = RDBStorage(
            _template(parsed),
            engine_kwargs={"pool_pre_ping": True, "connect_args": arguments},
            skip_compatibility_check=True,
        )
    sqlalchemy.event.listen(storage.engine, "do_connect", _Patience(redacted(url)).connect)
    return _checked_version(storage, url)


class _Patience:
    """Connects again to a server that answered before, for it may be restarting.

    Each transaction begins with a connection that was tried, so that nothing is done twice or left half done. A
    transaction that is cut off in its middle fails.
    """

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._lost_since: float | None = None

    def connect(self, dialect: sqlalchemy.Dialect, record: object, words: list[Any], names: dict[str, Any]) -> Any:
        """Connects, and tries again for a while when the server does not answer."""
        while True:
            try:
                connection = dialect.connect(*words, **names)
            except dialect.loaded_dbapi.OperationalError:
                if self._lost_since is None:
                    self._lost_since = time.monotonic()
                    _log.warning("%s does not answer: trying again for %.0f s", self._shown, _OUTAGE_S)
                if time.monotonic() - self._lost_since > _OUTAGE_S:
                    raise
                time.sleep(_PAUSE_S)
            else:
                self._lost_since = None
                return connection


def _checked_version(storage: RDBStorage, url: str) -> RDBStorage:
    made, ours = storage.get_current_version(), storage.get_head_version()
    if made == ours:
        return storage
    advice = (
        f"upgrade it with `optuna storage upgrade --storage {redacted(url)}`"
        if made in storage.get_all_versions()
        else "pip install --upgrade optuna"
    )
    raise StorageError(
        f"{redacted(url)}: the study's tables ({made}) are of another Optuna than {optuna.__version__} here ({ours}); "
        f"{advice}, or name another storage"
    )


def _mended(storage: RDBStorage, url: str) -> RDBStorage:
    """The storage with NaN values removed, which SQLite keeps as nothing and Optuna then cannot read; their trials
    become failed ones, as if no value had been entered."""
    empty = "SELECT trial_id FROM trial_values WHERE value IS NULL AND value_type = 'FINITE'"
    ours = "SELECT trial_id FROM trial_user_attributes WHERE key = 'slot'"
    with storage.engine.begin() as connection:
        found = connection.execute(sqlalchemy.text(f"{empty} AND trial_id IN ({ours})")).scalars().all()
        for trial_id in found:
            named = {"id": trial_id}
            connection.execute(sqlalchemy.text("UPDATE trials SET state = 'FAIL' WHERE trial_id = :id"), named)
            connection.execute(sqlalchemy.text("DELETE FROM trial_values WHERE trial_id = :id"), named)
    if found:
        _log.warning(
            "%s holds %d plans whose evaluation came to no number: they are evaluated again", redacted(url), len(found)
        )
    return storage


def _cause(error: BaseException, url: str) -> str:
    """The fault that the database's driver reported: in words of this package where the fault is known, else the
    driver's own."""
    fault: BaseException | None = error.__cause__ if isinstance(error, StorageInternalError) else error
    driver_error = getattr(fault, "orig", None) or fault or error
    text = " ".join(str(driver_error).split())
    for pattern, cause in _CAUSES.items():
        if re.search(pattern, text):
            return cause
    passwords = {sqlalchemy.make_url(normalised(url)).password, os.environ.get("PGPASSWORD")} - {None, ""}
    if any(str(password) in text for password in passwords):
        text = type(driver_error).__name__
    return f"the driver says: {text}; correct the URL, or look at the server's log"
