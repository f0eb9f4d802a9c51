"""The devices that the plan of a run has to suit."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from depthfinder.config.declared import with_changes
from depthfinder.config.measure import MeasureConfig
from latency.device import Device
from latency.devices import known_device, open_device
from profiles.names import as_file_name
from profiles.profile import Profile, Setting
from profiles.store import load_profile
from search.verification.budget import Budget

_TABLE: Final = "profile.json"


@dataclass(frozen=True)
class Target:
    """One device that a plan has to suit, its latency table, and the budget that holds there.

    Attributes:
        measure: How networks are run and measured on the device, and its budget.
        table: The file of the latency table, which the stage `profile` writes.
    """

    measure: MeasureConfig
    table: Path

    @property
    def name(self) -> str:
        """The name of the device."""
        return self.measure.device

    @property
    def is_here(self) -> bool:
        """Whether anything can be measured on the device now."""
        return known_device(self.name).absence() is None

    @cached_property
    def device(self) -> Device[Any]:
        """The device, opened. Raises `DeviceMissingError` when it is not here."""
        return open_device(self.name, self.measure.mode)

    @property
    def setting(self) -> Setting:
        """Where and how networks are measured, with the hardware and the runtime. It opens the device."""
        return self.device.setting(self.measure.batch_size)

    @property
    def has_table(self) -> bool:
        """Whether the run has the device's latency table yet."""
        return self.table.exists()

    @cached_property
    def profile(self) -> Profile:
        """The latency table."""
        return load_profile(self.table)

    @property
    def budget(self) -> Budget:
        """The latency that the network may have on the device."""
        if self.measure.budget_ratio is not None:
            return Budget.relative(self.measure.budget_ratio, self.profile)
        budgets = self.measure.budgets_ms
        assert budgets, "a search has a budget"
        return Budget(budgets[self.name])

    @property
    def uncut_ms(self) -> float:
        """The latency of the uncut network that the budget is compared with, in milliseconds.

        It is the measured one for a budget in milliseconds, and that by the table for a budget that is a share.
        """
        return self.profile.baseline_ms if self.measure.budget_ratio is None else self.profile.uncut_ms


def targets_of(measure: MeasureConfig, folder: Path) -> tuple[Target, ...]:
    """Returns the device that was asked for, then the others that have a budget.

    Args:
        measure: The settings of measuring, with the budgets of all devices.
        folder: The folder of the run, which has its latency tables.
    """
    others = {device: ms for device, ms in measure.budgets_ms.items() if device != measure.device}
    return (
        Target(measure, folder / _TABLE),
        *(
            Target(
                with_changes(measure, device=device, budget_ms=repr(ms), profile=None),
                folder / f"profile-{as_file_name(device)}.json",
            )
            for device, ms in others.items()
        ),
    )
