"""Corrects the kernels of a card, class by class, so that their sums meet whole networks that were measured."""

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
    """Fits the factor that the kernels of each term are multiplied by (a regression with shrinkage).

    Errors are relative, and those beyond one and a half standard deviations count less (Huber, 1964). The logarithms of
    the factors are normal around a common value, which is normal around zero: a term that few networks have gets about
    the factor of the others. The optimum is found by the Gauss-Newton method over the logarithms.

    Args:
        sums: (N, terms), what the kernels of each term are predicted to take in each network, in milliseconds.
        rest_ms: (N,), what everything else is predicted to take.
        took_ms: (N,), what the networks took when they were measured.
        names: The names of the terms.

    Returns:
        Term -> the likeliest factor.
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
    """Returns what networks are predicted to take with the factors, in milliseconds (N,).

    Args:
        sums: (N, terms), what the kernels of each term are predicted to take without them.
        rest_ms: (N,), what everything else is predicted to take.
        by: Term -> its factor.
        names: The names of the terms.
    """
    total_ms: Array = rest_ms + sums @ np.array([by[name] for name in names])
    return total_ms
