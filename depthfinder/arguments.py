"""What a run was asked for: written to `args.yaml`, from which it can be typed again."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from latency.mode import Dtype, Mode
from profiles.files import write_whole


class DifferentRunError(Exception):
    """The run folder belongs to a run that was asked for something else."""


@dataclass(frozen=True, kw_only=True)
class RunArguments:
    """Everything that decides what a run finds; two runs of equal arguments find the same plan on the same table."""

    model: str
    pretrained: bool
    checkpoint: str | None
    model_kwargs: Mapping[str, Any]
    dataset: str
    data_dir: str | None
    device: str
    threads: int
    batch_size: int
    budget_ms: float | None
    budget_ratio: float | None
    max_seconds: float
    n_trials: int
    supernet_epochs: int
    progressive_epochs: int
    train_batch_size: int
    lr: float
    seed: int
    dtype: Dtype = "fp32"
    channels_last: bool = False
    compiled: bool = False
    profile: str | None = None

    @property
    def mode(self) -> Mode:
        """How networks are run on the device."""
        return Mode(self.threads, self.dtype, self.channels_last, self.compiled)

    @property
    def default_experiment(self) -> str:
        """A folder name that tells runs of different budgets apart."""
        budget = f"{self.budget_ms:g}ms" if self.budget_ms is not None else f"x{self.budget_ratio:g}"
        return f"{self.model}-{self.device}-{budget}-s{self.seed}"

    @classmethod
    def load(cls, path: Path) -> "RunArguments":
        """Raises `FileNotFoundError` when there is no such file."""
        return cls(**yaml.safe_load(path.read_text()))

    def save(self, path: Path) -> None:
        write_whole(path, yaml.safe_dump(dataclasses.asdict(self), sort_keys=False))


def claim(path: Path, arguments: RunArguments) -> None:
    """Makes `path` the arguments file of this run. Raises `DifferentRunError`, which lists the differences, when it is
    another run's already."""
    if not path.exists():
        arguments.save(path)
        return
    before, now = dataclasses.asdict(RunArguments.load(path)), dataclasses.asdict(arguments)
    differences = [
        f"{name}: {before.get(name)!r} then, {now[name]!r} now" for name in now if before.get(name) != now[name]
    ]
    if differences:
        raise DifferentRunError(
            f"{path.parent} holds a run with other arguments ({'; '.join(differences)}); "
            "give this one a folder of its own with --experiment"
        )
