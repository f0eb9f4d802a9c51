"""The folder of one run: which file lies where, and which stages are done."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from profiles.files import write_whole

_FINETUNE_STAGES: Final = ("finetune", "finetuned")
SEARCH_STAGES: Final = ("baseline", "profile", *_FINETUNE_STAGES, "supernet", "search")
FRONT_STAGES: Final = ("baseline", "profile", *_FINETUNE_STAGES, "supernet", "front")
MASK_STAGES: Final = ("baseline", *_FINETUNE_STAGES, "masks", "hand over", "judge")
ALL_STAGES: Final = (*SEARCH_STAGES, "train", "merge", "measure", "report")


def stages_of(stages: Sequence[str], *, finetunes: bool) -> tuple[str, ...]:
    """Those that a run has which trains the uncut network first, or does not."""
    return tuple(stage for stage in stages if finetunes or stage not in _FINETUNE_STAGES)


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
