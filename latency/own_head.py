"""Makes the latency table of a network from that of the same network with another head.

The rows of the head are measured, and all others are kept.
"""

import dataclasses
import datetime
import time
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from torch import nn

from latency.device import Device
from latency.in_context import context_factors
from latency.pieces import plan_with
from latency.roofline import Peak
from latency.study import REFERENCE
from latency.table import check_floor, peak_of
from latency.timing import Timings, time_interleaved
from latency.workbench import Workbench
from profiles.errors import ProfileError
from profiles.fingerprint import differ_in_head_alone
from profiles.profile import Anchor, Choices, Profile, Row, judged_error
from pruner.progress import Progress, silent

_SECONDS: Final = 8.0
_UNCUT: Final = "uncut"


def with_own_head(
    profile: Profile,
    model: nn.Module,
    device: Device[Any],
    *,
    seconds: float = _SECONDS,
    seed: int = 0,
    model_kwargs: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> Profile:
    """Makes the latency table of `model` from the measured table of the same network with another head.

    The new head is timed alone, beside the matrix product that tells how the machine's speed compares with that of the
    time when the table was made. Its cost in context is its latency alone, times what the table's whole networks take
    over the sum of their pieces alone. The whole networks of the table have the other head and cannot judge the new
    table. The uncut network is measured instead: the relative error is that of the old table, or that of the uncut
    network, whichever is more.

    Args:
        profile: The table of the network with the other head.
        model: The network with its own head. It is not changed.
        device: Where to measure, and in which mode.
        seconds: About how long measuring may take.
        seed: Seed of the order of measuring.
        model_kwargs: The arguments that `model` was built with.
        progress: Called after each round.

    Raises:
        ProfileError: when more than the head differs, when the table's pieces were not measured, or when the head reads
            quicker than the device can be.
    """
    started = time.monotonic()
    bench = Workbench(model, device, profile.setting.batch_size, extra_choices={row.choice for row in profile.rows})
    here = bench.chain.fingerprint
    if not differ_in_head_alone(profile.fingerprint, here):
        raise ProfileError(f"a table of {profile.model} {profile.fingerprint} is of more than another head than {here}")
    if not can_change_head(profile):
        raise ProfileError(f"the table of {profile.model} is {profile.origin}: nothing was measured to go by")
    signature = profile.segments[-1].signature
    heads = [row for row in profile.rows if row.signature == signature]
    keys = {row: bench.network_keys(plan_with(bench.chain, (row.signature, row.choice)))[-1] for row in heads}
    programs = {
        **bench.references(),
        _UNCUT: bench.program_of(bench.chain.plan({})),
        **{key: bench.alone(key) for key in keys.values()},
    }
    timings = time_interleaved(programs, seconds=seconds, seed=seed, progress=progress)
    peak = peak_of(timings, device.reference_size) if device.has_peak else None
    new = {row: _measured(row, key, bench, timings, profile, peak) for row, key in keys.items()}
    found = dataclasses.replace(
        profile,
        model_kwargs=dict(model_kwargs or {}),
        fingerprint=here,
        rows=tuple(new.get(row, row) for row in profile.rows),
        anchors=(),
        seconds=profile.seconds + time.monotonic() - started,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )
    uncut = Anchor({}, timings.measurement(_UNCUT), found.latency_ms(Choices({})), held_out=True)
    error = max(profile.relative_error, judged_error((uncut,)))
    return dataclasses.replace(found, anchors=(uncut,), relative_error=error)


def can_change_head(profile: Profile) -> bool:
    """Whether a table holds latencies of pieces alone and of whole networks, which `with_own_head` needs."""
    return bool(profile.anchors) and all(row.alone is not None for row in profile.rows)


def _measured(row: Row, key: str, bench: Workbench, timings: Timings, profile: Profile, peak: Peak | None) -> Row:
    """The row with its new cost, at the speed that the machine had when the table was made."""
    alone = timings.measurement(key)
    floor_ms = peak.floor_ms(bench.kinds[key].work) if peak else None
    check_floor(key, alone, floor_ms)
    assert profile.conditions is not None, "a table with networks that were measured says how fast the machine was"
    speed = profile.conditions.reference.latency_ms / timings.measurement(REFERENCE).latency_ms
    low, middle, high = (float(more) for more in np.percentile(context_factors(profile), [5, 50, 95]))
    return dataclasses.replace(
        row,
        in_context_ms=speed * middle * alone.latency_ms,
        low_ms=speed * low * alone.low_ms,
        high_ms=speed * high * alone.high_ms,
        alone=alone,
        floor_ms=floor_ms,
        origin="measured again",
    )
