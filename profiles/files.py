"""Files that are either whole or not there."""

import os
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file so that no reader ever sees half of it: beside `path` first, then moved there in one step.

    A link at `path` is replaced, not followed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_name(path.name + ".writing")
    if written.is_symlink():
        written.unlink()
    with written.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    written.replace(path)
