"""What a run was asked for: written to `args.yaml`, from which it can be typed again."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from depthfinder.data_arguments import DataArguments
from depthfinder.training_arguments import TrainingArguments
from latency.mode import Dtype, Mode
from profiles.files import write_whole
from profiles.names import as_file_name
from pruner.choices import DROP, FITS, FOLDS

NO_WIDTHS: Final = "none"


def shares_of(widths: str) -> tuple[str, ...]:
    """'75,50' -> the choices that leave blocks that wide inside; nothing for 'none'."""
    return () if widths == NO_WIDTHS else tuple(f"narrow-{one.strip()}" for one in widths.split(","))


@dataclass(frozen=True, kw_only=True)
class RunArguments(TrainingArguments, DataArguments):
    """Everything that decides what a run finds; two runs of equal arguments find the same plan on the same table."""

    model: str
    pretrained: bool
    checkpoint: str | None
    model_kwargs: Mapping[str, Any]
    device: str
    threads: int
    batch_size: int
    budget_ms: str | None
    budget_ratio: float | None
    max_seconds: float
    n_trials: int
    seed: int
    dtype: Dtype = "fp32"
    channels_last: bool = False
    compiled: bool = False
    profile: str | None = None
    keep: Sequence[str] = ()
    choices: str | None = None
    widths: str = "75,50,25"
    max_pruned: int | None = None
    keep_one_per_stage: bool = False
    max_parameters: float | None = None
    max_memory_mb: float | None = None
    scored_by: str = "fits"
    fit_images: int = 1024
    strategy: str = "optuna"
    gate_form: str = "knapsack"
    sampler: str = "auto"
    gap: float = 0.0
    timeout: float | None = None
    bn_estimation: bool = False
    workers: int = 1
    storage: str | None = None
    study_name: str | None = None
    checkpoint_img_size: int | Sequence[int] | None = None

    @property
    def mode(self) -> Mode:
        """How networks are run on the device."""
        return Mode(self.threads, self.dtype, self.channels_last, self.compiled)

    @property
    def named_choices(self) -> tuple[str, ...] | None:
        """The only choices that blocks may be cut in; None for all that are offered."""
        return None if self.choices is None else tuple(choice.strip() for choice in self.choices.split(","))

    @property
    def searches_by_fits(self) -> bool:
        """Whether plans are scored by layers that are fitted in the blocks' places, so that no supernet is trained."""
        return self.scored_by == "fits"

    @property
    def shares(self) -> tuple[str, ...]:
        """The choices that leave a block as wide inside as was asked for."""
        return shares_of(self.widths)

    @property
    def cut_choices(self) -> tuple[str, ...] | None:
        """The only choices that blocks may be cut in: those that were named, else as the way of scoring has it."""
        by_default = (*self.shares, *FITS, *FOLDS, DROP) if self.searches_by_fits else None
        return by_default if self.named_choices is None else self.named_choices

    @property
    def also(self) -> tuple[str, ...]:
        """What is to be offered although it is on request: what was named, else narrower blocks, and where plans are
        scored by fits the layers that are fitted. An importance of weights knows of neither."""
        if self.named_choices is not None:
            return self.named_choices
        if self.strategy == "dimap":
            return ()
        return (*self.shares, *FITS) if self.searches_by_fits else self.shares

    @property
    def budgets_ms(self) -> dict[str, float]:
        """Device -> what the network may take there, as they were named; empty for a share of the baseline."""
        return {} if self.budget_ms is None else parse_budgets(self.budget_ms, self.device)

    @property
    def default_experiment(self) -> str:
        """A folder name that tells runs of different budgets apart."""
        budgets = self.budgets_ms
        if self.budget_ratio is not None:
            budget = f"x{self.budget_ratio:g}"
        elif len(budgets) == 1:
            budget = f"{budgets[self.device]:g}ms"
        else:
            budget = "-".join(f"{device}-{ms:g}ms" for device, ms in budgets.items()) or "front"
        return as_file_name(f"{self.model}-{self.device}-{budget}-s{self.seed}")

    @classmethod
    def load(cls, path: Path) -> "RunArguments":
        """Raises `FileNotFoundError` when there is no such file."""
        # Runs of before there was a choice were scored by a supernet.
        values: dict[str, Any] = {"scored_by": "supernet"} | yaml.safe_load(path.read_text())
        # YAML has lists alone.
        values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**values)

    def save(self, path: Path) -> None:
        write_whole(path, yaml.safe_dump(dataclasses.asdict(self), sort_keys=False))


def parse_budgets(text: str, device: str) -> dict[str, float]:
    """'25' -> {device: 25.0}; 'ort-cpu=20,mi100=3.2' -> {'ort-cpu': 20.0, 'mi100': 3.2}.

    Raises `ValueError` for what is no positive number of milliseconds.
    """
    if "=" not in text:
        return {device: _milliseconds(text)}
    budgets: dict[str, float] = {}
    for part in text.split(","):
        name, _, figure = part.partition("=")
        if not name.strip() or name.strip() in budgets:
            raise ValueError(f"{text!r} does not name every device once: write ort-cpu=20,mi100=3.2")
        budgets[name.strip()] = _milliseconds(figure)
    return budgets


def _milliseconds(text: str) -> float:
    try:
        figure = float(text)
    except ValueError:
        figure = math.nan
    if not (math.isfinite(figure) and figure > 0):
        raise ValueError(f"{text!r} is not a positive number of milliseconds: write 3.2")
    return figure
