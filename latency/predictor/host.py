"""Predicts the time that the host takes to issue a network's kernels one after another."""

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
    """The time that a host takes to issue operators.

    Attributes:
        alone_ms: Kind of operator -> the milliseconds to issue one, as timed alone.
        eager: The factor on these in whole networks that run eagerly.
        compiled: The factor on these in whole networks that run through `torch.compile`.
        error: The relative error that nine in ten networks' host times are within.

    Example:
        >>> host = HostTime({"linear": 0.01, "elementwise": 0.005}, eager=2.0, compiled=0.5, error=0.3)
        >>> operators = [Operator("linear", (1.0, 4.0, 32.0, 8.0)), Operator("elementwise", (4.0, 32.0, 2.0, 1.0))]
        >>> round(host.of(operators, compiled=False), 4)
        0.03
    """

    alone_ms: Mapping[str, float]
    eager: float
    compiled: float
    error: float

    def of(self, operators: Sequence[Operator], *, compiled: bool) -> float:
        """Returns the milliseconds to issue operators, eagerly or compiled."""
        factor = self.compiled if compiled else self.eager
        return factor * issue_ms(fused(operators) if compiled else operators, self.alone_ms)


@dataclass(frozen=True)
class HostFigure:
    """A whole network that was measured, as the host's factor is fitted to it.

    Attributes:
        network: The network's name.
        card: The GPU that it ran on.
        took_ms: What it took, in milliseconds.
        kernels_ms: What its kernels are predicted to take.
        alone_ms: What issuing its operators takes, if each takes what it does alone.
    """

    network: str
    card: str
    took_ms: float
    kernels_ms: float
    alone_ms: float


def issue_ms(operators: Sequence[Operator], alone_ms: Mapping[str, float]) -> float:
    """Returns the sum of what issuing each operator takes alone, in milliseconds.

    Args:
        operators: The operators.
        alone_ms: Kind of operator -> the milliseconds to issue one.
    """
    return float(sum(alone_ms[operator.kind] for operator in operators))


def host_factor(figures: Sequence[HostFigure]) -> float:
    """Fits what issuing operators takes in whole networks, over what it takes alone.

    A network takes max(kernels, factor * issuing), with a log-normal error that is the same for all networks. The prior
    of the factor is log-normal around one; the likeliest factor is returned. A network that is bound by its kernels
    tells nothing about the factor. Every network counts once, however often it was measured.
    """
    took, kernels, alone = np.array([[f.took_ms, f.kernels_ms, f.alone_ms] for f in figures]).T
    names = [f.network for f in figures]
    shares = np.array([1 / names.count(name) for name in names])
    said_ms = np.maximum(kernels, _TIMES[:, None] * alone)
    misfit = (shares * (np.log(took / said_ms) / _NETWORK_SPREAD) ** 2).sum(axis=1)
    return float(_TIMES[np.argmin(misfit + (np.log(_TIMES) / _PRIOR_SPREAD) ** 2)])
