"""Settings of measuring: the device, the mode, the time to measure for, and the budget."""

from typing import Annotated, ClassVar

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from depthfinder.config.words import budgets_of
from latency.mode import PANEL, Mode
from profiles.option import CHECKED, Option

DEFAULT_DEVICE = "ort-cpu"


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class DeviceConfig:
    """The device that networks are measured on, and how they are run there."""

    PANEL: ClassVar = PANEL

    device: Annotated[str, Option("The device whose latency counts: one of `depthfinder devices`.")] = DEFAULT_DEVICE
    mode: Mode = Mode()
    batch_size: Annotated[
        int, Option("Images that the deployed network takes at once.", ("--batch-size", "-b")), Field(ge=1)
    ] = 1


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class TableConfig(DeviceConfig):
    """The device, and how long it is measured on."""

    max_seconds: Annotated[float, Option("Seconds to spend on measuring, compiling included."), Field(gt=0)] = 60.0


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class MeasureConfig(TableConfig):
    """The latency table to go by, and the budget: in milliseconds, or as a share of the baseline's latency."""

    profile: Annotated[
        str | None, Option("Go by this table (.json) in place of the newest that matches; refused if it does not.")
    ] = None
    budget_ms: Annotated[
        str | None,
        Option(
            "The latency the network may have, in ms: 25, or for several devices ort-cpu=20,mi100=3.2; or "
            "--budget-ratio 0.7.",
            is_first=True,
        ),
    ] = None
    budget_ratio: Annotated[float | None, Option("The same as a share of the baseline's."), Field(gt=0)] = None

    @model_validator(mode="after")
    def _is_a_budget(self) -> "MeasureConfig":
        if self.budget_ms is not None and self.budget_ratio is not None:
            raise ValueError("give --budget-ms or --budget-ratio, not both")
        if self.budget_ms is not None:
            budgets_of(self.budget_ms, self.device)
        return self

    @property
    def budgets_ms(self) -> dict[str, float]:
        """Device -> the latency that the network may have there, in milliseconds and in the order given.

        Empty where the budget is a share of the baseline, or none was given.
        """
        return {} if self.budget_ms is None else budgets_of(self.budget_ms, self.device)

    @property
    def has_budget(self) -> bool:
        """Whether a budget was given."""
        return self.budget_ms is not None or self.budget_ratio is not None
