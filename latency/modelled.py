"""Predicts latency tables that were not measured; every row has the origin `modelled`.

A table is made of the costs of a network's pieces, and those come from the operators that a piece runs. For a device
that is not on this machine, published timings of operators give the costs. For one that is, a regression over measured
tables of other networks and sizes does.
"""

import dataclasses
import datetime
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from torch import nn

from latency.design import designed_plans
from latency.errors import PredictorError
from latency.in_context import alone_in_context
from latency.mode import Mode
from latency.pieces import Pieces, all_choices
from latency.predictor.blocks import PiecePredictor, TimedPiece
from latency.predictor.compiled import fused
from latency.predictor.described import peak_described
from latency.predictor.host import HostTime
from latency.predictor.kernels import KernelCosts
from latency.predictor.listen import Operator, operators_of
from latency.predictor.published import Bounds
from latency.predictor.whole import Card, shipped_networks
from latency.profiler import compile_pieces, study_of
from latency.roofline import BEYOND_BELIEF, Peak
from latency.study import Kind, RowKey, key_of
from profiles.descriptions import load_description
from profiles.errors import ProfileError
from profiles.judgement import Judgement
from profiles.measurement import Measurement
from profiles.profile import Anchor, Choices, Pair, Profile, Row, Setting
from pruner.progress import Progress, silent

RUNTIME: Final = "operators 3"
"""The runtime that tables from published timings name, with the version of the method."""


class Costs(Protocol):
    """Predicts what pieces of networks take; each piece is given as its operators."""

    @property
    def host_error(self) -> float:
        """The relative error that nine in ten predictions of a network's host time stay within."""

    @property
    def judged(self) -> tuple[Judgement, ...]:
        """How the predictions were judged."""

    def bounds(self, pieces: Sequence[Sequence[Operator]]) -> Sequence[Bounds]:
        """Returns (lower bound, prediction, upper bound) of each piece in milliseconds."""

    def host_ms(self, piece: Sequence[Operator]) -> float | None:
        """Returns the milliseconds that the host takes to issue a piece, or None if `bounds` include them."""

    def relative_error(self, pieces: Sequence[Sequence[Operator]]) -> float:
        """Returns the relative error that nine in ten networks of these pieces stay within."""


def modelled_profile(
    model: nn.Module,
    device: str,
    mode: Mode,
    *,
    batch_size: int = 1,
    seed: int = 0,
    model_kwargs: Mapping[str, Any] | None = None,
    extra_choices: Collection[str] = (),
    progress: Progress = silent,
) -> Profile:
    """Predicts the latency table of `model` on a described device, from published timings.

    Timings of single operators give the kernels. Latencies of whole networks give the host's time and correct the sums
    of kernels.

    Args:
        model: The network. It is not changed.
        device: The name of a described device, such as `mi100`; it need not be on this machine.
        mode: How networks are to be run there.
        batch_size: Images per run.
        seed: Seed of the random plans, which show which layers may become one.
        model_kwargs: The arguments that `model` was built with.
        extra_choices: Choices that blocks offer on request only, and that the table is to have too.
        progress: Called once, before the pieces are built.

    Raises:
        ProfileError: when the device is not described or has no rate for the dtype, and for channels-last, of which
            nothing is published.
    """
    try:
        description = load_description(device)
    except KeyError as error:
        raise ProfileError(f"{device} cannot be modelled: {error.args[0]}") from error
    if mode.channels_last:
        raise ProfileError(
            f"{device} cannot be modelled channels-last: published timings do not tell of it; leave --channels-last "
            "out, or measure it there (--kit)"
        )
    try:
        peak = peak_described(description, mode.dtype)
    except PredictorError as error:
        raise ProfileError(str(error)) from error
    setting = Setting(device, description.title, RUNTIME, mode.dtype, batch_size, mode.threads, compiled=mode.compiled)
    costs = _Published.on(device, mode)
    kwargs = dict(model_kwargs or {})
    return _table(
        model, setting, costs, peak, seed=seed, model_kwargs=kwargs, extra_choices=extra_choices, progress=progress
    )


def predicted_profile(
    model: nn.Module,
    setting: Setting,
    pieces: Sequence[TimedPiece],
    *,
    seed: int = 0,
    model_kwargs: Mapping[str, Any] | None = None,
    extra_choices: Collection[str] = (),
    progress: Progress = silent,
) -> Profile:
    """Predicts the latency table of `model` from pieces that were measured on the same device in the same mode.

    Args:
        model: The network. It is not changed.
        setting: The setting that the table is to be of.
        pieces: Measured pieces of other networks, or of this one at other batch or image sizes.
        seed: Seed of the random plans, which show which layers may become one.
        model_kwargs: The arguments that `model` was built with.
        extra_choices: Choices that blocks offer on request only, and that the table is to have too.
        progress: Called once, before the pieces are built.

    Raises:
        ProfileError: when the pieces are too few to judge a prediction by.
    """
    try:
        predictor = PiecePredictor.fitted(pieces)
    except ValueError as error:
        raise ProfileError(f"nothing to predict {setting.device} from: {error}") from error

    costs = _Predicted(predictor, setting.batch_size)
    kwargs = dict(model_kwargs or {})
    return _table(
        model, setting, costs, None, seed=seed, model_kwargs=kwargs, extra_choices=extra_choices, progress=progress
    )


@dataclass(frozen=True, eq=False)
class _Published:
    """Costs from published timings."""

    kernels: KernelCosts
    host: HostTime
    card: Card
    compiled: bool
    judged: tuple[Judgement, ...]

    @classmethod
    def on(cls, device: str, mode: Mode) -> "_Published":
        """Loads the costs of a described device that come with the package."""
        known = shipped_networks()
        card = known.card(device)
        kernels = KernelCosts(device, mode.dtype, card)
        operators = kernels.operators_judged
        return cls(kernels, known.host, card, mode.compiled, (*operators, *card.judged, *known.host_judged))

    @property
    def host_error(self) -> float:
        return self.host.error

    def bounds(self, pieces: Sequence[Sequence[Operator]]) -> Sequence[Bounds]:
        return self.kernels.bounds([fused(piece) if self.compiled else piece for piece in pieces])

    def host_ms(self, piece: Sequence[Operator]) -> float:
        return self.host.of(piece, compiled=self.compiled)

    def relative_error(self, pieces: Sequence[Sequence[Operator]]) -> float:
        """The error if all operators err together, or that of the judged sums of kernels, whichever is more."""
        _, middle, high = map(math.fsum, zip(*self.bounds(pieces), strict=True))
        return max(high / middle - 1, self.card.error)


@dataclass(frozen=True)
class _Predicted:
    """Costs from measured pieces, whose latencies include the host's time."""

    predictor: PiecePredictor
    batch_size: int
    host_error: float = 0.0
    judged: tuple[Judgement, ...] = ()

    def host_ms(self, piece: Sequence[Operator]) -> None:
        return None

    def bounds(self, pieces: Sequence[Sequence[Operator]]) -> Sequence[Bounds]:
        return list(zip(*(bound.tolist() for bound in self.predictor.bounds(pieces, self.batch_size)), strict=True))

    def relative_error(self, pieces: Sequence[Sequence[Operator]]) -> float:
        return self.predictor.relative_error(pieces, self.batch_size)


def timed_pieces(profile: Profile, model: nn.Module) -> list[TimedPiece]:
    """Returns the pieces of a measured table with the operators that they run, to predict other tables from.

    Args:
        profile: The measured table.
        model: The network that the table is of, with any weights.
    """
    bench = Pieces(model, operators_of, profile.setting.batch_size, extra_choices={row.choice for row in profile.rows})
    for plan in all_choices(bench.chain):
        bench.network_keys(plan)
    kwargs = "".join(f" {name}={value}" for name, value in sorted(profile.model_kwargs.items()))
    batch_size = profile.setting.batch_size
    group = f"{profile.model}{kwargs} b{batch_size}"
    in_context = alone_in_context(profile)
    return [
        TimedPiece(bench.fragment(key_of([what])), batch_size, in_context_ms, profile.model, group)
        for what, in_context_ms in in_context.items()
        if in_context_ms > 0
    ]


def anchored(profile: Profile, uncut: Measurement) -> Profile:
    """Returns the table scaled so that it predicts the measured latency `uncut` of the uncut network."""
    factor = uncut.latency_ms / profile.latency_ms(Choices({}))
    rows = tuple(
        dataclasses.replace(
            row,
            in_context_ms=factor * row.in_context_ms,
            low_ms=factor * row.low_ms,
            high_ms=factor * row.high_ms,
        )
        for row in profile.rows
    )
    pairs = tuple(dataclasses.replace(pair, in_context_ms=factor * pair.in_context_ms) for pair in profile.pairs)
    scaled = dataclasses.replace(profile, rows=rows, pairs=pairs)
    anchor = Anchor({}, uncut, scaled.latency_ms(Choices({})), held_out=False)
    return dataclasses.replace(scaled, anchors=(anchor,))


def _table(
    model: nn.Module,
    setting: Setting,
    costs_of: Costs,
    peak: Peak | None,
    *,
    seed: int,
    model_kwargs: Mapping[str, Any],
    extra_choices: Collection[str],
    progress: Progress,
) -> Profile:
    started = datetime.datetime.now(datetime.timezone.utc)
    progress(0, 1, "counting operations")
    bench = Pieces(model, operators_of, setting.batch_size, extra_choices)
    compile_pieces(bench, designed_plans(bench.chain, 12, 0, seed))
    study = study_of(bench, [], model_kwargs)
    bounds = costs_of.bounds([bench.fragment(key) for key in study.kinds])
    costs = dict(zip(study.kinds, bounds, strict=True))
    hosts = {key: costs_of.host_ms(bench.fragment(key)) for key in study.kinds}
    single = {kind.row_keys[0]: kind for kind in study.kinds.values() if len(kind.row_keys) == 1}
    rows = []
    for what, blocks in study.blocks.items():
        low, middle, high = costs[single[what].key]
        floor_ms = peak.floor_ms(single[what].work) if peak else None
        check_modelled(what, middle, floor_ms)
        rows.append(Row(*what, blocks, middle, low, high, None, floor_ms, "modelled", hosts[single[what].key]))
    uncut = [bench.fragment(key) for key in bench.network_keys(bench.chain.plan({}))]
    now = datetime.datetime.now(datetime.timezone.utc)
    return Profile(
        model=study.model,
        model_kwargs=study.model_kwargs,
        fingerprint=study.fingerprint,
        setting=setting,
        segments=study.segments,
        vanishing=study.vanishing,
        thinning=study.thinning,
        rows=tuple(rows),
        pairs=tuple(_pair(kind, costs, hosts) for kind in study.kinds.values() if len(kind.row_keys) == 2),
        anchors=(),
        relative_error=costs_of.relative_error(uncut),
        conditions=None,
        origin="modelled",
        seconds=(now - started).total_seconds(),
        created=now.isoformat(timespec="seconds"),
        host_error=costs_of.host_error,
        judged=costs_of.judged,
    )


def check_modelled(what: RowKey, said_ms: float, floor_ms: float | None) -> None:
    """Refuses a prediction that is less than any algorithm can take.

    Args:
        what: The row, as (signature, choice).
        said_ms: Its predicted latency in milliseconds.
        floor_ms: Its roofline in milliseconds, or None if that is not known.

    Raises:
        ProfileError: when the prediction is less than a quarter of the roofline.
    """
    if floor_ms is not None and said_ms < floor_ms / BEYOND_BELIEF:
        raise ProfileError(
            f"{what[1]!r} of {what[0]} would take {said_ms:.4f} ms, where the device's peak rates allow {floor_ms:.4f} "
            "at the least: the predictor is wrong about it"
        )


def _pair(kind: Kind, costs: Mapping[str, Bounds], hosts: Mapping[str, float | None]) -> Pair:
    """What the joined layer of two rows takes beyond the sum of both, which may be negative."""
    first, second = kind.row_keys
    alone = key_of([first]), key_of([second])
    more_ms = costs[kind.key][1] - sum(costs[key][1] for key in alone)
    both_ms = hosts[kind.key]
    host_ms = None if both_ms is None else both_ms - math.fsum(hosts[key] or 0.0 for key in alone)
    return Pair(first, second, more_ms, host_ms)
