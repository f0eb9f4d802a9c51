"""From whole networks to block costs: an additive fit that leans on what the blocks cost alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import lsq_linear

# A block's cost alone is trusted to about a tenth, a whole network's reading to about a hundredth: so much weaker is
# the pull towards the prior.
_PRIOR_WEIGHT = 0.1


@dataclass(frozen=True)
class WholeNetwork:
    """How often each kind of piece stands in a network, and what the network took."""

    counts: Mapping[str, int]
    latency_ms: float


def in_context_costs(networks: Sequence[WholeNetwork], alone_ms: Mapping[str, float]) -> dict[str, float]:
    """Non-negative costs per kind of piece, in ms, whose sums come nearest to the networks' latencies.

    Minimises sum((A c - y)^2 / y^2) + w^2 sum((c - prior)^2 / prior^2) over c >= 0, A the counts and the prior the
    pieces' times alone: a piece that no network tells apart from another keeps its prior's share.
    """
    kinds = list(alone_ms)
    counts = np.array([[network.counts.get(kind, 0) for kind in kinds] for network in networks], dtype=float)
    latencies = np.array([network.latency_ms for network in networks])
    prior = np.array([alone_ms[kind] for kind in kinds])
    pull = _PRIOR_WEIGHT / np.maximum(prior, prior.max() * 1e-6)
    design = np.vstack([counts / latencies[:, None], np.diag(pull)])
    target = np.concatenate([np.ones(len(networks)), pull * prior])
    solved = lsq_linear(design, target, bounds=(0.0, np.inf), method="bvls")
    return dict(zip(kinds, solved.x.tolist(), strict=True))
