"""Active profiling: predicts the whole latency table, and measures only the rows that are predicted worst."""

import dataclasses
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from torch import nn

from latency.device import Device
from latency.modelled import anchored, predicted_profile
from latency.pieces import plan_with
from latency.predictor.blocks import TimedPiece
from latency.predictor.listen import operators_of
from latency.study import RowKey, key_of
from latency.timing import time_interleaved
from latency.workbench import Workbench
from profiles.profile import Profile, Row
from pruner.progress import Progress, silent

_UNCUT: Final = "uncut"


def active_profile(
    model: nn.Module,
    device: Device[Any],
    pieces: Sequence[TimedPiece],
    count: int,
    *,
    batch_size: int = 1,
    max_seconds: float = 60.0,
    seed: int = 0,
    model_kwargs: Mapping[str, Any] | None = None,
    extra_choices: Collection[str] = (),
    progress: Progress = silent,
) -> Profile:
    """Predicts the latency table of `model`, and measures the rows that are most uncertain.

    Measured are the `count` rows with the widest intervals, times the number of places that they may stand in, and the
    uncut network. The rows that were measured stand in the table as measured, the other rows are predicted again with
    them, and the whole table is scaled to the latency of the uncut network.

    Args:
        model: The network. It is not changed.
        device: Where to measure, and in which mode.
        pieces: Pieces of networks that were measured on this device in this mode.
        count: How many rows to measure.
        batch_size: Images per run.
        max_seconds: About how long measuring may take.
        seed: Seed of the order of measuring and of the plans.
        model_kwargs: The arguments that `model` was built with.
        extra_choices: Choices that blocks offer on request only, and that the table is to have too.
        progress: Called with the steps done, the steps in all, and a note.

    Raises:
        ProfileError: when the pieces are too few to judge a prediction by.
    """
    started = time.monotonic()
    setting, kwargs = device.setting(batch_size), dict(model_kwargs or {})
    first = predicted_profile(
        model, setting, pieces, seed=seed, model_kwargs=kwargs, extra_choices=extra_choices, progress=progress
    )
    bench = Workbench(model, device, batch_size, extra_choices)
    chosen = sorted(first.rows, key=_doubt_ms, reverse=True)[:count]
    programs = {_UNCUT: bench.program_of(bench.chain.plan({}))}
    for row in chosen:
        bench.network_keys(plan_with(bench.chain, _what(row)))
        programs[_key(row)] = bench.alone(_key(row))
    timings = time_interleaved(programs, seconds=max_seconds, seed=seed, progress=progress)
    alone = {_what(row): timings.measurement(_key(row)) for row in chosen}
    measured = [
        TimedPiece(
            operators_of(bench.module(_key(row)), *bench.inputs(_key(row))),
            batch_size,
            alone[_what(row)].latency_ms,
            bench.chain.model,
            "measured now",
        )
        for row in chosen
    ]
    second = predicted_profile(
        model,
        setting,
        [*pieces, *measured],
        seed=seed,
        model_kwargs=kwargs,
        extra_choices=extra_choices,
        progress=progress,
    )
    rows = tuple(
        dataclasses.replace(
            row,
            in_context_ms=alone[_what(row)].latency_ms,
            low_ms=alone[_what(row)].low_ms,
            high_ms=alone[_what(row)].high_ms,
            alone=alone[_what(row)],
            origin="measured",
        )
        if _what(row) in alone
        else row
        for row in second.rows
    )
    found = anchored(dataclasses.replace(second, rows=rows), timings.measurement(_UNCUT))
    return dataclasses.replace(found, seconds=time.monotonic() - started)


def _doubt_ms(row: Row) -> float:
    return (row.high_ms - row.low_ms) * row.blocks


def _what(row: Row) -> RowKey:
    return row.signature, row.choice


def _key(row: Row) -> str:
    return key_of([_what(row)])
