"""The names of the criteria there are, for who would not load torch to know them: those of the files in `criteria/`."""

import pkgutil
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent / "criteria"
_PROTOCOL: Final = "criterion"

CRITERION_NAMES: Final = tuple(
    module.name for module in pkgutil.iter_modules([str(_FOLDER)]) if module.name != _PROTOCOL
)
