"""Says what a folder of a command holds, what is missing in it for another command, and what to type next."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from depthfinder.errors import FolderError
from depthfinder.folder.run_folder import RunFolder
from depthfinder.folder.stages import ALL_STAGES, FRONT_STAGES, MASK_STAGES, stages_of

Kind = Literal["run", "front", "sparsify", "tables", "runs", "nothing"]
_MOST_NAMED: Final = 4
_NAME_A_RUN: Final = (
    "name the folder of a run, such as `depthfinder search --budget-ratio 0.7` leaves in depthfinder-out"
)
_TABLE: Final = '"depthfinder.profile"'
_HEAD: Final = 200
_LEFT: Final = {
    "run": ("result.json", "merged.safetensors", "search.json", "plan.json", "profile.json", "args.yaml"),
    "front": ("front.json", "profile.json"),
    "sparsify": ("result.json", "masked.safetensors"),
}
_STAGES: Final = {"run": ALL_STAGES, "front": FRONT_STAGES, "sparsify": MASK_STAGES}


@dataclass(frozen=True)
class Contents:
    """What a folder holds.

    Attributes:
        folder: The folder.
        kind: Which command left it: `run`, `front` (of pareto) or `sparsify`; `tables` for latency tables, `runs` for a
            folder of such folders, and `nothing` for any other.
        arguments: The settings in its `args.yaml`; empty where there is none.
    """

    folder: RunFolder
    kind: Kind
    arguments: Mapping[str, Any]

    @property
    def next_stage(self) -> str | None:
        """The first stage of its command that is not done; None where all are done."""
        wanted = stages_of(
            _STAGES[self.kind],
            finetunes=bool(self.arguments.get("finetune_epochs")),
            scored_by=self.arguments.get("scored_by", "supernet"),
        )
        return next((stage for stage in wanted if not self.folder.is_done(stage)), None)

    def lacking(self, wanted: str, *files: str) -> FolderError:
        """Makes the error of a command that does not find what it needs in the folder.

        Args:
            wanted: What it needs, in words, such as "finished run".
            files: The files that hold it.

        Returns:
            An error that says what the folder holds instead, and what to type next.
        """
        return FolderError(f"{self.folder.path} holds no {wanted}: {self._in_its_place(files)}")

    def _in_its_place(self, files: tuple[str, ...]) -> str:
        path = str(self.folder.path)
        if self.kind == "nothing":
            if self.folder.path.is_dir():
                return f"nothing that Depthfinder leaves is in it; {_NAME_A_RUN}"
            return f"{'it is a file' if self.folder.path.exists() else 'there is no such folder'}; {_NAME_A_RUN}"
        if self.kind == "tables":
            return f"these are latency tables; look at one: {typed('profiles', 'show', str(_tables(path)[0]))}"
        if self.kind == "runs":
            return f"it is a folder of runs; name one of them: {self._names_of_runs}"
        gone = [name for name in files if name in _LEFT[self.kind] and not self.folder[name].is_file()]
        stage = self.next_stage
        if self.kind == "sparsify":
            if stage is not None:
                return (
                    f"a sparsify that stopped before '{stage}'; type the same command again, which goes on from there"
                )
            if not gone:
                return f"this is what sparsify left, and that has no study; look at it: {typed('report', path)}"
        elif self.kind == "front":
            if stage is not None:
                return f"a pareto that stopped before '{stage}'; go on: {self.resuming('pareto')}"
            if not gone:
                train = self.resuming("run", "--budget-ms", "N", experiment="NAME")
                look = typed("dashboard", path)
                return f"a front of plans, none of them trained; look at it: {look}, or train one: {train}"
        elif stage == "train":
            look = typed("dashboard", path)
            return f"a finished search, nothing trained yet; go on: {self.resuming('run')}, or look at it: {look}"
        elif stage is not None:
            return f"a run that stopped before '{stage}'; go on: {self.resuming('run')}"
        lost = " and ".join(gone)
        return f"there is no {lost} in it any more; remove {self.folder['state.json']} and type its command again"

    @cached_property
    def _names_of_runs(self) -> str:
        names = sorted(found.parent.name for found in self.folder.path.glob("*/args.yaml"))
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        return ", ".join(names[:_MOST_NAMED]) + more

    def resuming(self, command: str, *more: str, experiment: str | None = None) -> str:
        """Returns the command that goes on from this folder, as it is typed.

        Args:
            command: The name of the command, such as "run".
            more: Further words of it.
            experiment: The folder that it writes to; by default this one.
        """
        path = self.folder.path
        name = path.absolute().name if experiment is None else experiment
        config = ("--config", str(self.folder["args.yaml"]), "--output", str(path.parent), "--experiment", name)
        return typed(command, *config, *more)


def contents_of(path: Path) -> Contents:
    """Looks at the files in a folder. Raises `FolderError` where its `args.yaml` is damaged.

    Example:
        >>> contents_of(Path("no-such-folder")).kind
        'nothing'
    """
    folder = RunFolder(path)
    arguments = _arguments(folder["args.yaml"])
    if "method" in arguments:
        return Contents(folder, "sparsify", arguments)
    is_front = folder["front.json"].exists() or folder.has_begun("front")
    if is_front and not (folder["search.json"].exists() or folder.has_begun("search")):
        return Contents(folder, "front", arguments)
    if arguments or any(folder[name].exists() for name in ("result.json", "search.json", "merged.safetensors")):
        return Contents(folder, "run", arguments)
    if any(path.glob("*/args.yaml")):
        return Contents(folder, "runs", arguments)
    return Contents(folder, "tables" if _tables(str(path)) else "nothing", arguments)


def typed(*words: str) -> str:
    """Returns a command of Depthfinder as it is typed, between backquotes."""
    return f"`depthfinder {shlex.join(words)}`"


def _arguments(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError) as error:
        found = error
    if not isinstance(found, dict):
        raise FolderError(f"{path} is damaged: it holds no arguments; put it back, or remove {path.parent}")
    return found


def _tables(folder: str) -> list[Path]:
    """The latency tables in a folder, or in those right below it."""
    found = [*Path(folder).glob("*.json"), *Path(folder).glob("*/*.json"), *Path(folder).glob("profiles/*/*.json")]
    return sorted(
        path for path in found if path.is_file() and _TABLE in path.read_bytes()[:_HEAD].decode(errors="replace")
    )
