"""Makes sure that `search`, `profiles`, `latency` and `pruner` are Depthfinder's own, before one of them is imported.

A user's `search.py`, or a package `profiles/`, beside a script or in the working folder is found before Depthfinder's.
A process has one module of a name, so only one of the two can be imported. Taking Depthfinder's would break the user's
own import silently, so the import raises an error that names the file. `python -m depthfinder` runs no code of the
user's, and takes Depthfinder's. A folder without `__init__.py` does no harm.
"""

import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Final

OWN_PACKAGES: Final = ("latency", "profiles", "pruner", "search")
_HOME: Final = Path(__file__).parent.parent


def take_own_packages() -> None:
    """Checks that the packages which Python finds are Depthfinder's; in `python -m depthfinder` it imports them itself.

    Raises:
        ImportError: when another file of the same name would be imported; the error names it.
    """
    for name in OWN_PACKAGES:
        there = _file_of(name)
        if there is None or _is_ours(there):
            continue
        if not _is_the_program():
            raise ImportError(
                f"{there} stands in front of Depthfinder's own package `{name}`: rename it, or run from another folder",
                name=name,
                path=there,
            )
        _import(name)


def _file_of(name: str) -> str | None:
    """The file that `import name` takes or would take; None without one, and for a folder without `__init__.py`."""
    known = sys.modules.get(name)
    if known is not None:
        return known.__file__
    found = find_spec(name)
    return None if found is None or not found.has_location else found.origin


def _is_ours(file: str) -> bool:
    return os.path.realpath(Path(file).parent.parent) == os.path.realpath(_HOME)


def _is_the_program() -> bool:
    """Whether this is `python -m depthfinder`. While Python looks for the module, `sys.argv` begins with `-m`."""
    words = sys.orig_argv
    return sys.argv[:1] == ["-m"] and "-m" in words and words[words.index("-m") + 1 :][:1] == ["depthfinder"]


def _import(name: str) -> ModuleType:
    found: ModuleSpec | None = PathFinder.find_spec(name, [str(_HOME)])
    assert found is not None, "our packages are beside each other"
    assert found.loader is not None, "and they are packages"
    module = sys.modules[name] = module_from_spec(found)
    found.loader.exec_module(module)
    return module
