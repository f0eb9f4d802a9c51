"""The URL of a storage as users type it: its kind, how it is shown without the password, and what is wrong with it."""

import re
from typing import Final
from urllib.parse import unquote_plus

from search.errors import StorageError

POSTGRESQL: Final = "postgresql+psycopg"
_KINDS: Final = {
    "sqlite": "sqlite",
    "journal": "journal",
    "postgresql": POSTGRESQL,
    "postgres": POSTGRESQL,
    POSTGRESQL: POSTGRESQL,
}
_JOURNALS: Final = (".journal", ".log")
_TAKEN: Final = "a storage is sqlite:///FILE.db, journal:///FILE.journal or postgresql://USER@HOST/DATABASE"
_HIDDEN: Final = "***"
_SCHEME: Final = re.compile(r"[A-Za-z][\w+.-]*", re.ASCII)
# Narrower than what libraries accept: where a URL does not match, parts of a password may stand anywhere in it.
_SERVER: Final = re.compile(
    r"""(?P<head> [A-Za-z][\w+.-]*:// )
        (?: (?P<user> [^:/?\#@\s]* ) (?P<password> :[^@?]* )? @ )?
        (?P<place> (?: [\w.%-]* | \[[\w:.%]+\] ) (?: :\d+ )? (?: /[^@?:\s]* )? )
        (?P<query> \?[^@\s]* )?""",
    re.VERBOSE,
)
_FILE: Final = re.compile(r"(?P<place>(?:sqlite|journal):///[^?]*)(?P<query>\?.*)?", re.DOTALL)
_PARAMETER: Final = re.compile(r"[?&]([^=&]*)=")
_SECRETS: Final = ("pass", "pwd", "secret", "token")


def redacted(url: str) -> str:
    """The URL without its password, for messages and records.

    Where it cannot be told which part is the password, little else is left.

    Example:
        >>> redacted("postgresql://ann:secret@host/studies")
        'postgresql://ann:***@host/studies'
    """
    scheme, mark, _ = url.partition("://")
    whole = _FILE.fullmatch(url) or _SERVER.fullmatch(url)
    if whole is None:
        if not mark and ":" not in url:
            return url
        return f"{scheme}://{_HIDDEN}" if mark and _SCHEME.fullmatch(scheme) else _HIDDEN
    parts = whole.groupdict(default="")
    user = parts.get("user", "")
    password = f":{_HIDDEN}" if parts.get("password") else ""
    at = "@" if user or password else ""
    return parts.get("head", "") + user + password + at + parts["place"] + _redacted_query(parts["query"])


def _redacted_query(query: str) -> str:
    """The query of a URL up to its first secret; what follows a secret is left out too, for a `&` may belong to it."""
    for parameter in _PARAMETER.finditer(query):
        if any(secret in unquote_plus(parameter[1]).lower() for secret in _SECRETS):
            return query[: parameter.end()] + _HIDDEN
    return query


def normalised(url: str) -> str:
    """The URL with the scheme `sqlite`, `journal` or `postgresql+psycopg`; the path of a journal becomes such a URL.

    Raises `StorageError` for what is not a storage of these kinds.

    Example:
        >>> normalised("studies/faces.journal")
        'journal:///studies/faces.journal'
    """
    if not url.strip():
        raise StorageError(f"no storage was named: {_TAKEN}")
    scheme, mark, rest = url.partition("://")
    if not mark:
        if url.endswith(_JOURNALS) and ":" not in url:
            return f"journal:///{url}"
        raise StorageError(f"{redacted(url)} is no storage: {_TAKEN}")
    kind = _KINDS.get(scheme.lower())
    if kind is None:
        advice = "write postgresql://, for psycopg 3" if scheme.lower().startswith("postgres") else _TAKEN
        raise StorageError(f"{redacted(url)} is of a kind that is not taken: {advice}")
    if not (_FILE.fullmatch(f"{kind}://{rest}") or (kind == POSTGRESQL and _SERVER.fullmatch(url))):
        advice = (
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with @ : / ? in a user or password written %40 %3A %2F %3F"
            if kind == POSTGRESQL
            else f"{kind}:///FILE, and {kind}:////FILE for a path from the root"
        )
        raise StorageError(f"{redacted(url)} cannot be read: write {advice}")
    return f"{kind}://{rest}"
