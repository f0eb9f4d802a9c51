"""Files that are either whole or not there."""

import os
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes `content` beside `path`, then moves it there in one step, so that no reader ever sees half a file. A link
    that stands there is replaced, not followed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_name(path.name + ".writing")
    if written.is_symlink():
        written.unlink()
    with written.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    written.replace(path)
