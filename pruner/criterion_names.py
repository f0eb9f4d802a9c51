"""The names of all criteria, read off the files in `criteria/`, so that listing them does not import torch."""

import pkgutil
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent / "criteria"
_PROTOCOL: Final = "criterion"

CRITERION_NAMES: Final = tuple(
    module.name for module in pkgutil.iter_modules([str(_FOLDER)]) if module.name != _PROTOCOL
)
"""The names of the importance criteria, in alphabetical order."""
