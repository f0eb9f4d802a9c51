"""The latency table of one model on one device in one setting: where it came from, and how far it can be trusted."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from profiles.judgement import Judgement
from profiles.measurement import Measurement
from profiles.walk import KEPT, rows_of
from profiles.writing import save_profile

if TYPE_CHECKING:
    import pandas as pd

Origin = Literal["measured", "imported", "modelled"]
RowOrigin = Origin | Literal["measured again"]
_STEADY_ROUNDS: Final = 0.15
_STEADY_SHARE: Final = 0.9
# Where almost nothing of a network is left, a hundredth of a millisecond is many per cent of it, and does not matter.
_SMALLEST_SHARE: Final = 0.05


class CutPlan(Protocol):
    """A plan, as far as a latency table needs to know it."""

    @property
    def choices(self) -> Mapping[str, str]:
        """Block -> choice for every block that is not kept."""

    def choice_of(self, block: str) -> str:
        """The choice for one block."""


@dataclass(frozen=True)
class Setting:
    """Where and how a network was measured; figures of two settings are never mixed.

    Attributes:
        device: The short name of the device, such as mi100.
        hardware: The full name of the processor or GPU.
        runtime: The runtime and its version, separated by a blank.
    """

    device: str
    hardware: str
    runtime: str
    dtype: str
    batch_size: int
    threads: int
    channels_last: bool = False
    compiled: bool = False

    @property
    def mode_fields(self) -> tuple[int, str, bool, bool]:
        """How networks are run, whatever the runtime: (threads, dtype, channels last, compiled)."""
        return self.threads, self.dtype, self.channels_last, self.compiled

    def differences(self, other: "Setting") -> list[str]:
        """'threads: 1 there, 2 here' for every field in which `other`, the setting here, differs from this one."""
        return [
            f"{field.name.replace('_', ' ')}: {getattr(self, field.name)} there, {getattr(other, field.name)} here"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        ]


@dataclass(frozen=True)
class Segment:
    """One stretch of the network: a block, or what stands before, between or after the blocks."""

    name: str
    signature: str
    is_block: bool


@dataclass(frozen=True)
class Row:
    """The latency of one choice of one signature inside a whole network, with its 90 % interval.

    Behind a block that thins the tokens, the same choice has a row of its own, such as `keep, thinned`.

    Attributes:
        blocks: How many places in the network could be this.
        in_context_ms: Milliseconds inside a whole network; of its kernels alone where `host_ms` is given.
        low_ms: The lower end of the interval.
        high_ms: The upper end.
        alone: The piece as measured by itself; None where it was not.
        floor_ms: The least that the device's peak rates allow (roofline); None if they are not known.
        origin: `measured again` is a head measured later than the rest, for the table was made with another one.
        host_ms: Milliseconds that the host takes to issue the kernels; None where it is not known.
    """

    signature: str
    choice: str
    blocks: int
    in_context_ms: float
    low_ms: float
    high_ms: float
    alone: Measurement | None
    floor_ms: float | None
    origin: RowOrigin
    host_ms: float | None = None

    @property
    def quality(self) -> str:
        """The quality of the reading alone; where it was not measured alone, the origin of the figures."""
        if self.alone is None:
            return self.origin
        return f"{self.alone.quality}, {self.origin}" if self.origin == "measured again" else self.alone.quality

    @property
    def efficiency(self) -> float | None:
        """The share of the device's peak that it reaches in the network; None where that is not known."""
        return self.floor_ms / self.in_context_ms if self.floor_ms and self.in_context_ms else None


@dataclass(frozen=True)
class Pair:
    """What one piece costs more, or less if negative, when it directly follows another.

    There is such a cost where both become one layer, or where a runtime joins them.

    Attributes:
        first: (signature, choice) of the piece in front.
        second: (signature, choice) of the piece behind it.
        in_context_ms: Milliseconds; of the kernels alone where `host_ms` is given.
        host_ms: Milliseconds of the host.
    """

    first: tuple[str, str]
    second: tuple[str, str]
    in_context_ms: float
    host_ms: float | None = None


@dataclass(frozen=True)
class Anchor:
    """A whole network that was measured. Those that are `held_out` took no part in the fit of the table, and judge
    it."""

    choices: Mapping[str, str]
    measured: Measurement
    predicted_ms: float
    held_out: bool

    @property
    def error(self) -> float:
        """The relative error of the prediction; positive where the prediction is too high."""
        return self.predicted_ms / self.measured.latency_ms - 1


@dataclass(frozen=True)
class Conditions:
    """The state of the machine while it measured.

    Attributes:
        reference: A matrix product of fixed size, timed in every round. Two profiles of unequal reference were taken at
            unequal speeds of the machine.
        round_spread: The interquartile range over the rounds of how slow each was.
        cpu_share: The part of the wall clock that the reference was given on each of its threads, 1 when left alone;
            None where the work is a GPU's.
    """

    reference: Measurement
    round_spread: float
    cpu_share: float | None

    @property
    def noise(self) -> str | None:
        """What disturbed the measurement and by how much; None when it was steady."""
        found = []
        if self.round_spread > _STEADY_ROUNDS:
            found.append(f"the middle half of the rounds differed in speed by {self.round_spread:.0%}")
        if self.cpu_share is not None and self.cpu_share < _STEADY_SHARE:
            found.append(f"other work took {1 - self.cpu_share:.0%} of the processor")
        return " and ".join(found) or None


@dataclass(frozen=True)
class Profile:
    """The latency table of a model: `latency_ms(plan)` for every plan of it.

    A network takes at least as long as its kernels, and at least as long as the host takes to issue them. Where rows
    have figures of both, the latency is the larger of the two sums.

    Attributes:
        model_kwargs: What the network was made with, beside its name.
        fingerprint: Which chain the table is of (`profiles/fingerprint.py`).
        vanishing: The choices that leave nothing of a block: they have no row and cost nothing.
        relative_error: The error that nine in ten predictions of whole networks stay within, by the networks held out.
        conditions: The machine while it measured; None where nothing was measured.
        seconds: How long the table took to make.
        thinning: The choices behind which all else runs on fewer tokens.
        host_error: How far the host's sum may be off, as a share.
        judged: How the predictors of a modelled table were judged.

    Example:
        >>> from depthfinder.testing.samples import chain_and_table
        >>> chain, table = chain_and_table()
        >>> round(table.latency_ms(chain.plan({"blocks.0.mlp": "drop"})) / table.uncut_ms, 3)
        0.861
    """

    model: str
    model_kwargs: Mapping[str, Any]
    fingerprint: str
    setting: Setting
    segments: tuple[Segment, ...]
    vanishing: frozenset[str]
    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    anchors: tuple[Anchor, ...]
    relative_error: float
    conditions: Conditions | None
    origin: Origin
    seconds: float
    created: str
    thinning: frozenset[str] = frozenset()
    host_error: float = 0.0
    judged: tuple[Judgement, ...] = ()

    def latency_ms(self, plan: CutPlan) -> float:
        """The predicted latency of a plan's network, in milliseconds.

        Raises `KeyError` for a block or a choice without a row.
        """
        return max(math.fsum(one.costs_ms(plan)) for one in self.sums)

    @cached_property
    def sums(self) -> tuple["Profile", ...]:
        """The tables whose rows add up to latencies: this one, or that of its kernels and that of its host, the
        larger sum for the uncut network first."""
        if not self.has_host:
            return (self,)
        return tuple(sorted((self.kernels, self.host), key=_uncut_ms, reverse=True))

    @cached_property
    def kernels(self) -> "Profile":
        """The table of the kernels alone."""
        rows = tuple(dataclasses.replace(row, host_ms=None) for row in self.rows)
        pairs = tuple(dataclasses.replace(pair, host_ms=None) for pair in self.pairs)
        return dataclasses.replace(self, rows=rows, pairs=pairs)

    @cached_property
    def host(self) -> "Profile":
        """The table of what the host takes to issue the kernels; zero where that is not known."""
        low, high = max(0.0, 1 - self.host_error), 1 + self.host_error
        took = [(row, row.host_ms or 0.0) for row in self.rows]
        rows = tuple(
            dataclasses.replace(row, in_context_ms=ms, low_ms=low * ms, high_ms=high * ms, floor_ms=None, host_ms=None)
            for row, ms in took
        )
        pairs = tuple(dataclasses.replace(pair, in_context_ms=pair.host_ms or 0.0, host_ms=None) for pair in self.pairs)
        return dataclasses.replace(self, rows=rows, pairs=pairs, relative_error=self.host_error)

    @property
    def has_host(self) -> bool:
        """Whether rows say what the host takes to issue them."""
        return self.rows[0].host_ms is not None

    def costs_ms(self, plan: CutPlan) -> list[float]:
        """The terms of a plan's latency: the cost of each piece that the network runs, and of each pair that is
        joined."""
        costs, before = [], None
        for segment, row in rows_of(self.segments, plan, self.vanishing, self.thinning):
            costs.append(self.block_ms(segment, row))
            here = (self.signatures[segment], row)
            costs.append(self._pairs.get((before, here), 0.0))
            before = here
        return costs

    def has_row(self, signature: str, choice: str) -> bool:
        """Whether the cost of a block of this signature as `choice` is known."""
        return choice in self.vanishing or (signature, choice) in self._costs

    def block_ms(self, segment: str, choice: str) -> float:
        """The milliseconds of one segment as `choice` inside a whole network.

        Raises `KeyError` for a choice without a row.
        """
        if choice in self.vanishing:
            return 0.0
        signature = self.signatures[segment]
        if (signature, choice) not in self._costs:
            raise KeyError(f"the profile of {self.model} has no row for {choice!r} of {segment} ({signature})")
        return self._costs[signature, choice]

    def interval_ms(self, plan: CutPlan) -> tuple[float, float]:
        """The predicted latency less and plus the error that nine in ten networks stay within; in a table without
        measured networks, the bounds of its rows count where they are wider."""
        if self.has_host:
            bounds = [one.interval_ms(plan) for one in self.sums]
            return max(low for low, _ in bounds), max(high for _, high in bounds)
        latency_ms = self.latency_ms(plan)
        if not self.anchors:
            low, high = self._bound("low_ms"), self._bound("high_ms")
            return latency_ms * min(low, 1 / (1 + self.relative_error)), latency_ms * max(high, 1 + self.relative_error)
        return latency_ms * max(0.0, 1 - self.relative_error), latency_ms * (1 + self.relative_error)

    @property
    def is_predicted(self) -> bool:
        """Whether some row was modelled, not measured; other tables are not predicted from such a one."""
        return any(row.origin == "modelled" for row in self.rows)

    @property
    def blocks(self) -> tuple[str, ...]:
        """The names of the blocks, in running order."""
        return tuple(segment.name for segment in self.segments if segment.is_block)

    @cached_property
    def signatures(self) -> Mapping[str, str]:
        """Segment name -> signature."""
        return {segment.name: segment.signature for segment in self.segments}

    @cached_property
    def fixed_ms(self) -> float:
        """The milliseconds of all that stands outside the blocks."""
        return math.fsum(self.block_ms(segment.name, KEPT) for segment in self.segments if not segment.is_block)

    @property
    def uncut_ms(self) -> float:
        """The latency of the uncut network by the table, with which its other predictions are to be compared."""
        return self.latency_ms(Choices({}))

    @property
    def baseline_ms(self) -> float:
        """The latency of the uncut network: as measured, or by the table where it was not measured."""
        measured = [anchor.measured.latency_ms for anchor in self.anchors if not anchor.choices]
        return measured[0] if measured else self.uncut_ms

    def to_frame(self) -> "pd.DataFrame":
        """The rows of the table as a data frame, one a line, with costs in milliseconds.

        Example:
            >>> from profiles.store import shipped_profiles
            >>> _, table = next(iter(shipped_profiles()))
            >>> list(table.to_frame().columns)[:4]
            ['signature', 'choice', 'blocks', 'in_context_ms']
        """
        import pandas as pd

        plain = [field.name for field in dataclasses.fields(Row) if field.name != "alone"]
        alone = (row.alone.latency_ms if row.alone else None for row in self.rows)
        rows = [
            {name: getattr(row, name) for name in plain} | {"alone_ms": ms}
            for row, ms in zip(self.rows, alone, strict=True)
        ]
        return pd.DataFrame(rows, columns=[*plain, "alone_ms"])

    def save(self, path: str | Path) -> None:
        """Writes the profile to `path` as JSON, and its rows beside it as CSV."""
        save_profile(self, Path(path))

    def _bound(self, name: str) -> float:
        """The sum of the rows' bounds of that name over the sum of their costs."""
        return math.fsum(getattr(row, name) for row in self.rows) / math.fsum(row.in_context_ms for row in self.rows)

    @cached_property
    def _costs(self) -> Mapping[tuple[str, str], float]:
        return {(row.signature, row.choice): row.in_context_ms for row in self.rows}

    @cached_property
    def _pairs(self) -> Mapping[tuple[tuple[str, str] | None, tuple[str, str]], float]:
        return {(pair.first, pair.second): pair.in_context_ms for pair in self.pairs}


def _uncut_ms(profile: Profile) -> float:
    return profile.uncut_ms


@dataclass(frozen=True)
class Choices:
    """Block -> choice, in the form of a plan; `Choices({})` is the uncut network."""

    choices: Mapping[str, str]

    def choice_of(self, block: str) -> str:
        """The choice for one block: `keep` for every block that is not named."""
        return self.choices.get(block, KEPT)


def judged_error(anchors: tuple[Anchor, ...]) -> float:
    """The relative error that nine in ten of the held-out anchors stay within; of all anchors, where none was held out.

    An error counts relative to the network's latency, or to a twentieth of the slowest network's where that is more.
    """
    judges = [anchor for anchor in anchors if anchor.held_out] or list(anchors)
    least_ms = _SMALLEST_SHARE * max(anchor.measured.latency_ms for anchor in anchors)
    errors = sorted(
        abs(anchor.predicted_ms - anchor.measured.latency_ms) / max(anchor.measured.latency_ms, least_ms)
        for anchor in judges
    )
    return errors[math.ceil(0.9 * len(errors)) - 1]
