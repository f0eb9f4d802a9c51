"""Says whether this environment holds what a lock names for this machine, those versions and nothing else.

Run by the environment's own Python: `python -I .ci/as_locked.py requirements.lock`. Exit status 0 if so, else 1 and one
line for each difference.
"""

import sys
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

BESIDE_THE_LOCK = {"pip", "depthfinder"}  # what installs, and what is worked on


def locked(text: str) -> dict[str, Requirement]:
    """Name -> requirement of every line of a lock that is for this machine and this Python."""
    lines = (line.partition(" #")[0].strip() for line in text.splitlines())
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(r.name): r for r in requirements if r.marker is None or r.marker.evaluate()}


def differences(wanted: dict[str, Requirement], installed: dict[str, str]) -> list[str]:
    """A line for each distribution that is missing, of another version, or not in the lock.

    A version with a local part, `2.14.1+cpu`, is that version.
    """
    found = []
    for name in sorted(wanted.keys() | installed.keys()):
        if name not in installed:
            found.append(f"{name}: {wanted[name].specifier} is in the lock, and it is not installed")
        elif name not in wanted:
            found.append(f"{name}: {installed[name]} is installed, and it is not in the lock")
        elif not wanted[name].specifier.contains(installed[name], prereleases=True):
            found.append(f"{name}: {installed[name]} is installed, and {wanted[name].specifier} is in the lock")
    return found


def main() -> None:
    installed = {canonicalize_name(found.name): found.version for found in distributions()}
    for name in BESIDE_THE_LOCK:
        installed.pop(name, None)
    wanted = locked(Path(sys.argv[1]).read_text())
    found = differences(wanted, installed)
    if not found:
        print(f"{len(installed)} distributions are installed, those of {sys.argv[1]} and no others")
        return
    print(*found, "an environment made anew holds no more than the lock: make clean", sep="\n")
    sys.exit(1)


if __name__ == "__main__":
    main()
