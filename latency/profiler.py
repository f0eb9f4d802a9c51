"""The latency table of a model on a device: every distinct piece alone, a few whole networks, and the fit of both."""

import datetime
import itertools
from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from latency.device import Device
from latency.fit import WholeNetwork, in_context_costs
from latency.timing import time_interleaved
from profiles.profile import Anchor, Profile, Row
from pruner.chain import Chain
from pruner.plan import DROP, KEEP, Plan
from pruner.progress import Progress, silent
from pruner.surgery import OpenNetwork, Piece

_FITTED_NETWORKS = 8
_HELD_OUT_NETWORKS = 4
_TIME_SHARE_ALONE = 0.25
_SHARES_CUT = (0.15, 0.4, 0.6, 0.85)
_MOST_DRAWS = 200


class Workbench:
    """Compiles each distinct piece of a model once, and assembles whole networks from them."""

    def __init__(self, model: nn.Module, device: Device[Any], batch_size: int) -> None:
        self.device = device
        self._opened = OpenNetwork(model).eval()
        self.chain = self._opened.chain
        self.images = torch.rand(batch_size, *self.chain.input_size, generator=torch.Generator().manual_seed(0))
        self._fragments: dict[str, Any] = {}
        self._examples: dict[str, Tensor] = {}
        self._results: dict[str, Tensor] = {}

    def pieces(self, plan: Plan) -> list[Piece]:
        """The plan's pieces, each compiled if it never was before."""
        pieces = self._opened.pieces(plan)
        flowing = self.images
        for piece in pieces:
            if piece.key not in self._fragments:
                module = piece.build()
                self._examples[piece.key] = flowing
                self._fragments[piece.key] = self.device.compile(module, flowing)
                with torch.no_grad():
                    self._results[piece.key] = module(flowing)
            flowing = self._results[piece.key]
        return pieces

    def network(self, plan: Plan) -> Any:
        """The plan's whole network as a program."""
        return self.device.assemble([self._fragments[piece.key] for piece in self.pieces(plan)], self.images)

    def alone(self, key: str) -> Any:
        """One piece as a program of its own."""
        return self.device.assemble([self._fragments[key]], self._examples[key])


def profile(
    model: nn.Module,
    device: Device[Any],
    *,
    batch_size: int = 1,
    max_seconds: float = 60.0,
    seed: int = 0,
    model_kwargs: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> Profile:
    """Measures `model` on `device` and fits its latency table, in about `max_seconds` besides compiling.

    Block costs are fitted in context: whole networks are measured side by side, and the costs are those whose sums
    come nearest to them, leaning on each block's time alone. Networks that took no part in the fit judge it.
    """
    bench = Workbench(model, device, batch_size)
    plans = _designed_plans(bench.chain, seed)
    progress(0, 1, "compiling")
    counts = [Counter(piece.key for piece in bench.pieces(plan)) for plan in plans]
    fixed = [piece.key for piece in bench.pieces(plans[0]) if not piece.is_block]
    keys = list(dict.fromkeys(key for counted in counts for key in counted))
    alone = time_interleaved(
        {key: bench.alone(key) for key in keys}, seconds=_TIME_SHARE_ALONE * max_seconds, seed=seed, progress=progress
    )
    names = [f"network {index}" for index in range(len(plans))]
    whole = time_interleaved(
        {name: bench.network(plan) for name, plan in zip(names, plans, strict=True)},
        seconds=(1 - _TIME_SHARE_ALONE) * max_seconds,
        seed=seed,
        progress=progress,
    )
    measured = [whole.measurement(name) for name in names]
    fitted = [
        WholeNetwork(counted, measurement.median_ms)
        for counted, measurement in list(zip(counts, measured, strict=True))[:_FITTED_NETWORKS]
    ]
    costs = in_context_costs(fitted, {key: alone.measurement(key).median_ms for key in keys})
    anchors = tuple(
        Anchor(
            choices=dict(plan.choices),
            measured=measurement,
            predicted_ms=sum(costs[key] * count for key, count in counted.items()),
            held_out=index >= _FITTED_NETWORKS,
        )
        for index, (plan, counted, measurement) in enumerate(zip(plans, counts, measured, strict=True))
    )
    return Profile(
        model=bench.chain.model,
        model_kwargs=dict(model_kwargs or {}),
        fingerprint=bench.chain.fingerprint,
        setting=device.setting(batch_size),
        signatures={block.name: block.signature for block in bench.chain.blocks},
        vanishing=frozenset({DROP}),
        fixed_ms=sum(costs[key] for key in fixed),
        rows=tuple(
            Row(signature, choice, blocks, costs[key], alone.measurement(key), "measured")
            for (signature, choice), (key, blocks) in _distinct(bench.chain).items()
            if key in costs
        ),
        anchors=anchors,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )


def _distinct(chain: Chain) -> Mapping[tuple[str, str], tuple[str, int]]:
    """(signature, choice) -> (the piece's key, how many blocks could be it)."""
    counted = Counter((block.signature, choice) for block in chain.blocks for choice in block.choices)
    return {pair: (f"{pair[0]} -> {pair[1]}", blocks) for pair, blocks in counted.items()}


def _designed_plans(chain: Chain, seed: int) -> list[Plan]:
    """Keep-all, then one plan a choice that makes it of every block that offers it, then plans that cut a growing share
    of the blocks, at places drawn at random; the last ones are held out of the fit. A short chain has fewer plans."""
    cuts = sorted({choice for block in chain.blocks for choice in block.choices if choice != KEEP})
    plans = [chain.plan({})]
    plans += [chain.plan({b.name: cut for b in chain.blocks if cut in b.choices}) for cut in cuts if cut != DROP]
    random = Random(seed)
    for share in itertools.islice(itertools.cycle(_SHARES_CUT), _MOST_DRAWS):
        plan = chain.random_plan(share, random)
        if plan not in plans:
            plans.append(plan)
        if len(plans) == _FITTED_NETWORKS + _HELD_OUT_NETWORKS:
            break
    return plans
