"""What `benchmarks/width.py` was asked for, and what all of its parts go by: the networks, the names of its files."""

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from profiles.files import write_whole
from pruner.training.settings import Optimizing, TrainSettings
from shared.baselines import FEW, LEARNING_RATE, baseline

DEVICE: Final = "ort-cpu"


@dataclasses.dataclass(frozen=True)
class Asked:
    """What was typed, for the processes as well."""

    output: Path
    baselines: Path
    networks: tuple[str, ...]
    budgets: tuple[float, ...]
    seeds: tuple[int, ...]
    arms: tuple[str, ...]
    epochs: int
    supernet_epochs: int
    tryout_epochs: int
    trials: int
    table_seconds: float
    quick_seconds: float
    long_seconds: float


@dataclasses.dataclass(frozen=True)
class Job:
    """One training: a family, a budget, an arm, a seed."""

    family: str
    budget: float
    arm: str
    seed: int

    @property
    def name(self) -> str:
        return f"{named(self.family, self.budget, self.arm)}-{self.seed}"


def named(family: str, budget: float, what: str) -> str:
    return f"{family}-{budget}-{what.replace(', ', '-').replace(' ', '-')}"


def kept_in(file: Path, find: Callable[[], Any]) -> Any:
    """What stands in `file` as JSON; found and written there, if that was not done before."""
    if not file.exists():
        write_whole(file, json.dumps(find()) + "\n")
    return json.loads(file.read_text())


@functools.cache
def learned(family: str, baselines: Path) -> nn.Module:
    return baseline(family, baselines)


def settings_for(epochs: int, seed: int) -> TrainSettings:
    return TrainSettings(epochs, seed=seed, optimizing=Optimizing(lr=LEARNING_RATE))


def some_images() -> Tensor:
    """Those on which ONNX Runtime and PyTorch are compared."""
    return next(iter(FEW.test_batches(batch_size=250)))[0]
