"""The folder of one run: where its files are, and which stages are done."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from depthfinder.errors import FolderError
from depthfinder.folder.stages import STAGES
from profiles.files import write_whole
from profiles.names import below, one_name

EARLIER: Final = "earlier"


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run. A stage gives a file its final name only when the file is whole.

    Example:
        >>> folder = RunFolder(Path("depthfinder-out") / "first")
        >>> folder["result.json"].as_posix()
        'depthfinder-out/first/result.json'
        >>> folder.is_done("search")
        False
    """

    path: Path

    @classmethod
    def named(cls, output: Path, name: str) -> "RunFolder":
        """Returns the folder of that name below `output`.

        Raises:
            FileNameError: when `name` is not the name of one folder, or a link in the folder leads out of `output`.
        """
        path = below(output, one_name(name))
        for link in (found for found in path.rglob("*") if found.is_symlink()):
            below(output, *link.relative_to(output).parts)
        return cls(path)

    def __getitem__(self, name: str) -> Path:
        return self.path / name

    def checkpoint(self, stage: str) -> Path:
        """Returns the file of the weights that a stage leaves."""
        return self.path / "checkpoints" / f"{stage}.safetensors"

    def storage(self, workers: int) -> str:
        """Returns the URL of the run's own study: an SQLite database for one process, a journal for more.

        A journal that the folder holds already is used by one process too.
        """
        # Imported here: a finished run is shown without Optuna.
        from search.storage.opening import url_of_file

        journal = self["study.journal"]
        is_shared = workers > 1 or journal.exists()
        return url_of_file("journal", journal) if is_shared else url_of_file("sqlite", self["study.db"])

    def seconds(self) -> dict[str, float]:
        """Returns stage -> the seconds spent on it so far, over all starts of the run."""
        return {stage: entry["seconds"] for stage, entry in self._state().items()}

    def is_done(self, stage: str) -> bool:
        """Returns whether the stage has been completed."""
        return bool(self._state().get(stage, {}).get("done"))

    def has_begun(self, stage: str) -> bool:
        """Returns whether the stage has been started, completed or not."""
        return stage in self._state()

    def begun(self) -> list[str]:
        """Returns the stages that left something, completed or not."""
        state = self._state()
        trained = [one.name for one in STAGES.values() if one.checkpoint and self.checkpoint(one.checkpoint).exists()]
        return [one.name for one in STAGES.values() if one.name in state and one.checkpoint is None] + trained

    def set_aside(self, stages: Sequence[str]) -> None:
        """Moves the files of stages to the folder `EARLIER`, so that the stages are carried out again.

        Files of the same name that were set aside before are overwritten.
        """
        state = self._state()
        for stage in stages:
            seconds = state.get(stage, {}).get("seconds", 0.0) if STAGES[stage].goes_on else 0.0
            state[stage] = {"seconds": seconds, "done": False}
        # The state is written first, so that a folder that is half cleared is known to be.
        write_whole(self["state.json"], json.dumps(state, indent=1) + "\n")
        for pattern in (pattern for stage in stages for pattern in STAGES[stage].leaves):
            for path in sorted(self.path.glob(pattern)):
                target = self[EARLIER] / path.relative_to(self.path)
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.is_dir():
                    shutil.rmtree(target)
                path.replace(target)

    def note(self, stage: str, *, seconds: float, done: bool) -> None:
        """Adds `seconds` to a stage's time, and records whether the stage is done."""
        state = self._state()
        before = state.get(stage, {"seconds": 0.0})
        state[stage] = {"seconds": round(before["seconds"] + seconds, 2), "done": done}
        write_whole(self["state.json"], json.dumps(state, indent=1) + "\n")

    def _state(self) -> dict[str, dict[str, float]]:
        path = self["state.json"]
        if not path.exists():
            return {}
        try:
            state: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
            return {stage: {"seconds": entry["seconds"], "done": entry["done"]} for stage, entry in state.items()}
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise FolderError(
                f"{path} is damaged; remove it and type the run again: its trainings and its study are gone on from"
            ) from error
