"""Compares what pieces take in whole networks with what they take alone, by a measured latency table."""

import dataclasses
import statistics

from latency.study import RowKey
from profiles.profile import Choices, Profile


def context_factors(profile: Profile) -> list[float]:
    """Returns, for each whole network of a table, its latency over the sum of what its pieces take alone."""
    alone = _alone_ms(profile)
    rows = tuple(dataclasses.replace(r, in_context_ms=alone[r.signature, r.choice]) for r in profile.rows)
    sums = dataclasses.replace(profile, rows=rows)
    return [anchor.measured.latency_ms / sums.latency_ms(Choices(anchor.choices)) for anchor in profile.anchors]


def alone_in_context(profile: Profile) -> dict[RowKey, float]:
    """Returns what each piece takes alone, times the median of `context_factors`.

    The latency of a piece alone is read often and by itself. The fitted cost in context is one of many unknowns of a
    few equations: where two pieces trade off against each other, their sum is known better than either.

    Returns:
        (signature, choice) -> milliseconds.
    """
    factors = context_factors(profile)
    more = statistics.median(factors) if factors else 1.0
    return {what: more * took_ms for what, took_ms in _alone_ms(profile).items()}


def _alone_ms(profile: Profile) -> dict[RowKey, float]:
    return {(r.signature, r.choice): r.alone.latency_ms if r.alone else r.in_context_ms for r in profile.rows}
