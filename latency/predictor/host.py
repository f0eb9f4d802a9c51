"""What the host takes to issue a network's kernels, one after another, whatever the device makes of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from latency.predictor.compiled import fused
from latency.predictor.listen import Operator

# Before any network is seen it takes what it did where operators were timed alone; how little that is believed, and how
# far off a network may be for reasons of its own: standard deviations of logarithms.
_PRIOR_SPREAD: Final = 0.5
_NETWORK_SPREAD: Final = 0.15
_TIMES: Final = np.geomspace(0.1, 10.0, 4001)


@dataclass(frozen=True)
class HostTime:
    """A host's milliseconds for an operator of each kind, as timed alone, the factors that whole networks put on them,
    eager and compiled, and how far off a network's host time may be: nine in ten are within that share."""

    alone_ms: Mapping[str, float]
    eager: float
    compiled: float
    error: float

    def of(self, operators: Sequence[Operator], *, compiled: bool) -> float:
        """Milliseconds to issue these operators."""
        factor = self.compiled if compiled else self.eager
        return factor * issue_ms(fused(operators) if compiled else operators, self.alone_ms)


@dataclass(frozen=True)
class HostFigure:
    """A network that was measured whole: what it took, what its kernels are predicted to take, and what issuing its
    operators takes where each is timed alone."""

    network: str
    card: str
    took_ms: float
    kernels_ms: float
    alone_ms: float


def issue_ms(operators: Sequence[Operator], alone_ms: Mapping[str, float]) -> float:
    """The sum of what issuing each operator takes alone."""
    return float(sum(alone_ms[operator.kind] for operator in operators))


def host_factor(figures: Sequence[HostFigure]) -> float:
    """What issuing takes in a network, over what it takes alone: the likeliest, where a network takes max(kernels,
    issuing times the factor), its logarithm as uncertain for every network alike, and the factor is log-normal around
    one before anything is known. A figure that is the kernels' says nothing; every network counts once, however often
    it was measured."""
    took, kernels, alone = np.array([[f.took_ms, f.kernels_ms, f.alone_ms] for f in figures]).T
    names = [f.network for f in figures]
    shares = np.array([1 / names.count(name) for name in names])
    said_ms = np.maximum(kernels, _TIMES[:, None] * alone)
    misfit = (shares * (np.log(took / said_ms) / _NETWORK_SPREAD) ** 2).sum(axis=1)
    return float(_TIMES[np.argmin(misfit + (np.log(_TIMES) / _PRIOR_SPREAD) ** 2)])
