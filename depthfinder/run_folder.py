"""The folder of one run: which file lies where, and which stages are done."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from profiles.files import write_whole

SEARCH_STAGES: Final = ("profile", "finetune", "supernet", "search")
FRONT_STAGES: Final = ("profile", "finetune", "supernet", "front")
MASK_STAGES: Final = ("finetune", "masks", "hand over", "judge")
ALL_STAGES: Final = (*SEARCH_STAGES, "train", "merge", "measure", "report")
EARLIER: Final = "earlier"
# Training -> the name of its checkpoint.
_CHECKPOINTS: Final = {"finetune": "finetune", "supernet": "supernet", "masks": "masks", "train": "progressive"}
# Stage -> the files that it leaves, those of a search's study apart: it is gone on with.
_LEAVES: Final[Mapping[str, Sequence[str]]] = {
    "profile": ("profile.json", "profile.csv", "profile-*.json", "profile-*.csv"),
    "search": ("search.json", "plan.json"),
    "front": ("front.json", "front.svg"),
    "train": ("progressive.csv", "tensorboard/progressive", "checkpoints/progressive.safetensors*"),
    "merge": ("merged.*", "parity.json"),
    "measure": ("result.json",),
    "report": ("report.html",),
    "hand over": ("masked.safetensors", "masks.safetensors", "pruned.*"),
    "judge": ("result.json",),
}
_GONE_ON_WITH: Final = ("search", "front")


@dataclass(frozen=True)
class RunFolder:
    """Every stage leaves its result here under a final name only when it is whole."""

    path: Path

    def __getitem__(self, name: str) -> Path:
        return self.path / name

    def checkpoint(self, stage: str) -> Path:
        return self.path / "checkpoints" / f"{stage}.safetensors"

    def storage(self, workers: int) -> str:
        """The storage of the run's study, where none was named: a database for one process, a journal for more."""
        if workers > 1 or self["study.journal"].exists():
            return f"journal:///{self.path / 'study.journal'}"
        return f"sqlite:///{self.path / 'study.db'}"

    def seconds(self) -> dict[str, float]:
        """Stage -> seconds spent on it so far, over all the times the run was taken up."""
        return {stage: entry["seconds"] for stage, entry in self._state().items()}

    def is_done(self, stage: str) -> bool:
        return bool(self._state().get(stage, {}).get("done"))

    def begun(self) -> list[str]:
        """The stages that left something, whole or not."""
        state = self._state()
        trained = [stage for stage, name in _CHECKPOINTS.items() if self.checkpoint(name).exists()]
        return [stage for stage in _LEAVES if stage in state and stage not in _CHECKPOINTS] + trained

    def set_aside(self, stages: Sequence[str]) -> None:
        """Moves what stages have left to the folder `EARLIER`, so that they are to be done again. Of what was set aside
        before nothing is kept that has the same name."""
        state = self._state()
        for stage in stages:
            seconds = state.get(stage, {}).get("seconds", 0.0) if stage in _GONE_ON_WITH else 0.0
            state[stage] = {"seconds": seconds, "done": False}
        # First, so that a folder that is half cleared is known to be.
        write_whole(self["state.json"], json.dumps(state, indent=1) + "\n")
        for pattern in (pattern for stage in stages for pattern in _LEAVES[stage]):
            for path in sorted(self.path.glob(pattern)):
                target = self[EARLIER] / path.relative_to(self.path)
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.is_dir():
                    shutil.rmtree(target)
                path.replace(target)

    def note(self, stage: str, *, seconds: float, done: bool) -> None:
        """Adds `seconds` to a stage's time, and marks it done if it is."""
        state = self._state()
        before = state.get(stage, {"seconds": 0.0})
        state[stage] = {"seconds": round(before["seconds"] + seconds, 2), "done": done}
        write_whole(self["state.json"], json.dumps(state, indent=1) + "\n")

    def _state(self) -> dict[str, dict[str, float]]:
        path = self["state.json"]
        state: dict[str, dict[str, float]] = json.loads(path.read_text()) if path.exists() else {}
        return state
