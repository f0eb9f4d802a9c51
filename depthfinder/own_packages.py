"""Makes sure that `search`, `profiles`, `latency` and `pruner` are Depthfinder's own, before one of them is imported.

A user's `search.py`, or a package `profiles/`, beside a script or in the working folder stands in front of ours. A
process has one module of a name, so that of the two one cannot be had. Taking ours would break the user's own import
without a word, so a script is refused and told which file it is. `python -m depthfinder` is a process of ours alone,
and takes its own. A folder without `__init__.py` stands in nobody's way.
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
    """Raises `ImportError` that names the file which stands in front of a package of ours; in a process of
    `python -m depthfinder` none does from then on."""
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
    """What `import name` is, or would be; None if nothing, or a folder without `__init__.py`."""
    known = sys.modules.get(name)
    if known is not None:
        return known.__file__
    found = find_spec(name)
    return None if found is None or not found.has_location else found.origin


def _is_ours(file: str) -> bool:
    return os.path.realpath(Path(file).parent.parent) == os.path.realpath(_HOME)


def _is_the_program() -> bool:
    """Whether this is `python -m depthfinder`: while a module is looked for, that is what `sys.argv` begins with."""
    words = sys.orig_argv
    return sys.argv[:1] == ["-m"] and "-m" in words and words[words.index("-m") + 1 :][:1] == ["depthfinder"]


def _import(name: str) -> ModuleType:
    found: ModuleSpec | None = PathFinder.find_spec(name, [str(_HOME)])
    assert found is not None, "our packages are beside each other"
    assert found.loader is not None, "and they are packages"
    module = sys.modules[name] = module_from_spec(found)
    found.loader.exec_module(module)
    return module
