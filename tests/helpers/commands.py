"""What the fixture `depthfinder` is: the command line, typed in an empty folder."""

import subprocess
from collections.abc import Callable

Command = Callable[..., subprocess.CompletedProcess[str]]
