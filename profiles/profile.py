"""The latency table of one model on one device in one setting: where it came from, and how far it can be trusted."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from profiles.measurement import Measurement

Origin = Literal["measured", "imported", "modelled"]


class CutPlan(Protocol):
    """As much of a plan as a table needs to know."""

    @property
    def choices(self) -> Mapping[str, str]: ...

    def choice_of(self, block: str) -> str: ...


@dataclass(frozen=True)
class Setting:
    """Where and through what was measured; figures of two settings are never mixed."""

    device: str
    hardware: str
    runtime: str
    dtype: str
    batch_size: int
    threads: int


@dataclass(frozen=True)
class Row:
    """What one choice of one signature costs inside a whole network, and alone."""

    signature: str
    choice: str
    blocks: int
    in_context_ms: float
    alone: Measurement
    origin: Origin


@dataclass(frozen=True)
class Anchor:
    """A whole network that was measured: `held_out` ones took no part in the fit and judge it."""

    choices: Mapping[str, str]
    measured: Measurement
    predicted_ms: float
    held_out: bool

    @property
    def error(self) -> float:
        """Of the prediction, relative to the measured median; positive when it was too slow."""
        return self.predicted_ms / self.measured.median_ms - 1


@dataclass(frozen=True)
class Profile:
    """`latency_ms(plan)` for every plan of the model whose chain has this fingerprint.

    `model` and `model_kwargs` are what the network was made from; `signatures` maps each block to its signature;
    `fixed_ms` is what stands outside the blocks; a choice that leaves nothing of a block has no row and costs nothing.
    """

    model: str
    model_kwargs: Mapping[str, Any]
    fingerprint: str
    setting: Setting
    signatures: Mapping[str, str]
    vanishing: frozenset[str]
    fixed_ms: float
    rows: tuple[Row, ...]
    anchors: tuple[Anchor, ...]
    created: str

    def latency_ms(self, plan: CutPlan) -> float:
        """What the plan's network is predicted to take. Raises `KeyError` for a block or choice without a row."""
        return math.fsum([self.fixed_ms, *(self.block_ms(name, plan.choice_of(name)) for name in self.signatures)])

    def block_ms(self, block: str, choice: str) -> float:
        """The share of one block in the network's latency when `choice` is made of it."""
        if choice in self.vanishing:
            return 0.0
        signature = self.signatures[block]
        for row in self.rows:
            if row.signature == signature and row.choice == choice:
                return row.in_context_ms
        raise KeyError(f"the profile of {self.model} has no row for {choice!r} of {block} ({signature})")

    def interval_ms(self, plan: CutPlan) -> tuple[float, float]:
        """The prediction, give or take the error that nine in ten of the anchors stayed within."""
        latency_ms, error = self.latency_ms(plan), self.relative_error
        return latency_ms * (1 - error), latency_ms * (1 + error)

    @property
    def relative_error(self) -> float:
        """The error that nine in ten anchors stayed within; of those held out where there are any."""
        judged = [anchor for anchor in self.anchors if anchor.held_out] or list(self.anchors)
        errors = sorted(abs(anchor.error) for anchor in judged)
        return errors[math.ceil(0.9 * len(errors)) - 1]

    def save(self, path: str | Path) -> None:
        """Writes the profile to `path` as JSON, and its table beside it as CSV."""
        # Imported here: the store reads and writes this very class.
        from profiles.store import save_profile

        save_profile(self, Path(path))

    @property
    def baseline(self) -> Measurement:
        """The uncut network, as it was measured."""
        return next(anchor.measured for anchor in self.anchors if not anchor.choices)
