"""What a card's kernels are multiplied by, class by class, so that networks that were measured whole are met: a
regression on sums, shrunk."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from latency.predictor.tiles import Array
from latency.predictor.whole import TERMS

# Before any network is seen a factor is about as large as the others', and they are near one.
_APART: Final = 0.5
_FROM_ONE: Final = 0.7
_NETWORK: Final = 0.12
"""How far a network lies from a sum that is right of its kind: the standard deviation of the logarithm."""
_DOUBTED: Final = 1.5
_STEPS: Final = 60
_LONGEST_STEP: Final = 0.5
_SETTLED: Final = 1e-6
_TINY: Final = 1e-9


def factors(sums: Array, rest_ms: Array, took_ms: Array, names: Sequence[str] = TERMS) -> Mapping[str, float]:
    """The likeliest factors for networks that took `took_ms` (N,), where they are predicted to take `rest_ms` (N,) and
    the kernels of each term `sums` (N, terms).

    Errors are relative, and those beyond one and a half deviations count as if they were nearer (Huber, 1964). The
    logarithms of the factors are normal around one that they have in common, which is normal around zero: a term that
    few networks have gets the factor of the others. Gauss and Newton's method over the logarithms.
    """
    logs, common = np.zeros(sums.shape[1]), 0.0
    target = np.log(took_ms)
    for _ in range(_STEPS):
        parts = sums * np.exp(logs)
        said_ms = np.maximum(rest_ms + parts.sum(axis=1), _TINY)
        errors = (np.log(said_ms) - target) / _NETWORK
        weights = np.sqrt(np.minimum(1.0, _DOUBTED / np.maximum(np.abs(errors), _TINY)))
        slopes = np.column_stack([parts / said_ms[:, None] / _NETWORK, np.zeros(len(errors))]) * weights[:, None]
        apart = np.column_stack([np.eye(len(logs)), -np.ones(len(logs))]) / _APART
        from_one = np.append(np.zeros(len(logs)), 1 / _FROM_ONE)
        wrong = np.concatenate([errors * weights, (logs - common) / _APART, [common / _FROM_ONE]])
        step = np.linalg.lstsq(np.vstack([slopes, apart, from_one]), -wrong, rcond=None)[0]
        step = np.clip(step, -_LONGEST_STEP, _LONGEST_STEP)
        logs, common = logs + step[:-1], common + float(step[-1])
        if np.abs(step).max() < _SETTLED:
            break
    return dict(zip(names, np.exp(logs).tolist(), strict=True))


def corrected_ms(sums: Array, rest_ms: Array, by: Mapping[str, float], names: Sequence[str] = TERMS) -> Array:
    """(N, terms) and (N,) -> (N,): what the networks take by these factors."""
    total_ms: Array = rest_ms + sums @ np.array([by[name] for name in names])
    return total_ms
