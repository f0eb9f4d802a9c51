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

if TYPE_CHECKING:
    import pandas as pd

Origin = Literal["measured", "imported", "modelled"]
RowOrigin = Origin | Literal["measured again"]
_STEADY_ROUNDS: Final = 0.15
_STEADY_SHARE: Final = 0.9
# Where all but nothing of a network is left, a hundredth of a millisecond is many per cent of it, and of no matter.
_SMALLEST_SHARE: Final = 0.05


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
    channels_last: bool = False
    compiled: bool = False

    @property
    def mode_fields(self) -> tuple[int, str, bool, bool]:
        """How networks are run, whatever runs them: (threads, dtype, channels last, compiled)."""
        return self.threads, self.dtype, self.channels_last, self.compiled

    def differences(self, other: "Setting") -> list[str]:
        """'threads: 1 there, 2 here' for everything in which `other` is not like this one."""
        return [
            f"{field.name.replace('_', ' ')}: {getattr(self, field.name)} there, {getattr(other, field.name)} here"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        ]


@dataclass(frozen=True)
class Segment:
    """One stretch of the network, in running order: a block, or what stands before, between and after the blocks."""

    name: str
    signature: str
    is_block: bool


@dataclass(frozen=True)
class Row:
    """What one choice of one signature costs inside a whole network, with its 90 % interval; and alone, if it was
    measured so. Behind a block that thins the tokens the same choice is another, such as `keep, thinned`.

    `floor_ms` is what the device's peak rates allow at the least (roofline), None if they are not known; `blocks`
    counts the places in the network that could be this. What was `measured again` is the head's, at another time than
    the rest: the table was that of another head before. Where `host_ms` is given, what the host takes to issue it, the
    other figures are of its kernels alone.
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
        """How good the reading of it alone is; where it was not measured alone, where its figures are from."""
        if self.alone is None:
            return self.origin
        return f"{self.alone.quality}, {self.origin}" if self.origin == "measured again" else self.alone.quality

    @property
    def efficiency(self) -> float | None:
        """The share of the device's peak that it reaches in the network."""
        return self.floor_ms / self.in_context_ms if self.floor_ms and self.in_context_ms else None


@dataclass(frozen=True)
class Pair:
    """What it costs more, or less if negative, that one thing directly follows another: where both become one layer, or
    where a runtime joins them."""

    first: tuple[str, str]
    second: tuple[str, str]
    in_context_ms: float
    host_ms: float | None = None


@dataclass(frozen=True)
class Anchor:
    """A whole network that was measured: `held_out` ones took no part in the fit and judge it."""

    choices: Mapping[str, str]
    measured: Measurement
    predicted_ms: float
    held_out: bool

    @property
    def error(self) -> float:
        """Of the prediction, relative to what was measured; positive when it was too slow."""
        return self.predicted_ms / self.measured.latency_ms - 1


@dataclass(frozen=True)
class Conditions:
    """The machine while it was measured.

    `reference` is a matrix product of fixed size, timed in every round: two profiles of unequal reference were taken
    at unequal speeds of the machine. `round_spread` is the interquartile range over the rounds of how slow each was;
    `cpu_share` the part of the wall clock that the reference was given on each of its threads, 1 when left alone, and
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
    """`latency_ms(plan)` for every plan of the model whose chain has this fingerprint (`profiles/fingerprint.py`).

    `model` and `model_kwargs` are what the network was made from. A choice that leaves nothing of a block has no row
    and costs nothing; behind one that is `thinning`, all else costs what it does on fewer tokens. `relative_error` is
    the error of a whole network's prediction that nine in ten networks stay within, by those that took no part in the
    fit. `seconds` is how long it took to make.

    A network cannot take less than its kernels, nor than the host takes to issue them. Where rows have figures of both,
    its latency is the larger of the two sums, `host_error` is how far the host's may be off, and `judged` says how both
    were judged.
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
        """What the plan's network is predicted to take. Raises `KeyError` for a block or choice without a row."""
        return max(math.fsum(one.costs_ms(plan)) for one in self.sums)

    @cached_property
    def sums(self) -> tuple["Profile", ...]:
        """Tables whose rows add up, that of the larger sum for the uncut network first: this one, or one of its kernels
        and one of its host."""
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
        """The table of what the host takes to issue the kernels: nothing where the table does not say."""
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
        """What the latency is the sum of: each thing that the network runs through, and each pair that is joined."""
        costs, before = [], None
        for segment, row in rows_of(self.segments, plan, self.vanishing, self.thinning):
            costs.append(self.block_ms(segment, row))
            here = (self.signatures[segment], row)
            costs.append(self._pairs.get((before, here), 0.0))
            before = here
        return costs

    def has_row(self, signature: str, choice: str) -> bool:
        """Whether it is known what a block of this signature costs as `choice`."""
        return choice in self.vanishing or (signature, choice) in self._costs

    def block_ms(self, segment: str, choice: str) -> float:
        """The share of one block, or of what stands between blocks, in the network's latency as `choice`."""
        if choice in self.vanishing:
            return 0.0
        signature = self.signatures[segment]
        if (signature, choice) not in self._costs:
            raise KeyError(f"the profile of {self.model} has no row for {choice!r} of {segment} ({signature})")
        return self._costs[signature, choice]

    def interval_ms(self, plan: CutPlan) -> tuple[float, float]:
        """The prediction, give or take the error that nine in ten networks stay within; of a table without measured
        networks, the sums of its rows' bounds where these are wider."""
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
        """Whether some row was not measured: such a table is nothing to predict others from."""
        return any(row.origin == "modelled" for row in self.rows)

    @property
    def blocks(self) -> tuple[str, ...]:
        """The names of the blocks, in running order."""
        return tuple(segment.name for segment in self.segments if segment.is_block)

    @cached_property
    def signatures(self) -> Mapping[str, str]:
        """Of every segment, by its name."""
        return {segment.name: segment.signature for segment in self.segments}

    @cached_property
    def fixed_ms(self) -> float:
        """What stands outside the blocks."""
        return math.fsum(self.block_ms(segment.name, KEPT) for segment in self.segments if not segment.is_block)

    @property
    def uncut_ms(self) -> float:
        """The uncut network as the table has it: what its other predictions are to be compared with."""
        return self.latency_ms(Choices({}))

    @property
    def baseline_ms(self) -> float:
        """The uncut network: as measured where it was, else as the table has it."""
        measured = [anchor.measured.latency_ms for anchor in self.anchors if not anchor.choices]
        return measured[0] if measured else self.uncut_ms

    def to_frame(self) -> "pd.DataFrame":
        """The rows of the table, one a line: signature, choice, how many blocks could be it, and what it costs in
        milliseconds, in a whole network and, where it was measured so, alone.

        >>> from profiles.store import load_profile, shipped_profiles
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
        """Writes the profile to `path` as JSON, and its table beside it as CSV."""
        # Imported here: the store reads and writes this very class.
        from profiles.store import save_profile

        save_profile(self, Path(path))

    def _bound(self, name: str) -> float:
        """How the rows' bounds of that name compare with their costs, over all the rows."""
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
    """The choices of an anchor, as a plan."""

    choices: Mapping[str, str]

    def choice_of(self, block: str) -> str:
        """The choice for one block: `keep` for every block that is not named."""
        return self.choices.get(block, KEPT)


def judged_error(anchors: tuple[Anchor, ...]) -> float:
    """The relative error that nine in ten of the held-out anchors stayed within; of all, where none was held out.

    An error counts relative to the network's latency, or to a twentieth of the slowest network's where that is more.
    """
    judges = [anchor for anchor in anchors if anchor.held_out] or list(anchors)
    least_ms = _SMALLEST_SHARE * max(anchor.measured.latency_ms for anchor in anchors)
    errors = sorted(
        abs(anchor.predicted_ms - anchor.measured.latency_ms) / max(anchor.measured.latency_ms, least_ms)
        for anchor in judges
    )
    return errors[math.ceil(0.9 * len(errors)) - 1]
