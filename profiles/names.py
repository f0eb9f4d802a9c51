"""Safe paths from names: any text becomes one name below a folder, or is refused."""

import os
from pathlib import Path
from typing import Final
from urllib.parse import quote

from profiles.errors import FileNameError

# File systems allow 255 bytes; what is written beside a file (`.error.svg.writing`) has to fit too.
_LONGEST: Final = 200
_PLAIN: Final = " +,=@"


def as_file_name(text: str) -> str:
    """`text` as the name of one file or folder; different texts have different names.

    Letters, digits and `_ . - ~` stand for themselves, as do blanks and `+ , = @`. All else, and a dot in front, is
    written as `%` and two digits for each byte, as in web addresses.

    Raises `FileNameError` for what is empty, too long, or not text.

    Example:
        >>> as_file_name("timm/resnet18.a1_in1k")
        'timm%2Fresnet18.a1_in1k'
    """
    if not isinstance(text, str):
        raise FileNameError(f"{text!r} is no name")
    name = quote(text, safe=_PLAIN, errors="surrogatepass")
    name = f"%2E{name[1:]}" if name.startswith(".") else name
    _check_length(text, name)
    return name


def one_name(text: str) -> str:
    """`text` itself, if it can be the name of one file or folder as it stands.

    Raises `FileNameError` for what leads elsewhere (`a/b`, `..`), cannot be printed, is empty or too long.
    """
    _check_length(text, text)
    if text in (".", "..") or {"/", "\\"} & set(text) or not text.isprintable():
        raise FileNameError(
            f"{text!r} is not the name of one folder: leave out slashes, `..` and what cannot be printed"
        )
    return text


def below(root: Path, *names: str) -> Path:
    """The path of `names` below `root`.

    Raises `FileNameError` where a link on that path leads out of `root`.
    """
    path = root.joinpath(*names)
    there = Path(os.path.realpath(path))
    if not there.is_relative_to(os.path.realpath(root)):
        raise FileNameError(f"{path} leads out of {root}, to {there}: nothing is written there; remove the link")
    return path


def _check_length(text: str, name: str) -> None:
    length = len(name.encode(errors="surrogatepass"))
    if not text:
        raise FileNameError("a name is empty, and nothing can be kept under it")
    if length > _LONGEST:
        raise FileNameError(f"{text[:40]!r}... is too long for a file: {length} bytes of {_LONGEST}")
