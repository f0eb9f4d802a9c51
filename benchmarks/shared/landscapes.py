"""Landscapes for `benchmarks/search_quality.py`: plans whose scores are all known, or can be computed, and the best."""

import functools
import itertools
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import numpy as np

from latency.devices.null import Null
from latency.profiler import profile
from pruner.choices.chain import Block, Chain
from pruner.choices.choice import KEEP, MERGE
from pruner.choices.plan import Plan
from pruner.data.digits import DigitScenes
from pruner.models.checkpoint import CheckpointFile
from pruner.models.load import load_model
from pruner.network.surgery import describe, supernet
from pruner.progress import silent
from pruner.scoring.evaluator import Evaluator
from pruner.training.loop import fit
from pruner.training.progressive import calibrate_norms
from pruner.training.settings import TrainSettings
from pruner.training.supernet import SupernetObjective
from search.feasible import feasible_plan, random_wish, solved_plan
from search.limits import LatencyLimit, SizeLimit
from search.samplers.neighbours import climbed
from search.samplers.surrogate import Gains
from search.space import Array, Space

LEFT: Final = 0.6
DEMO_BUDGET: Final = 0.85
UNCUT: Final = 3.0
FAR: Final = 11
# Of six choices: the share of a block's latency that each cut saves, and of the harm of dropping it that it does.
SAVED: Final = {"narrow-75": 0.25, "narrow-50": 0.5, "narrow-25": 0.75, "fit": 0.85, "drop": 1.0}
HARMED: Final = (0.1, 0.25, 0.6, 0.9, 1.0)
CLIMBS: Final = 60


@dataclass(frozen=True)
class Landscape:
    """The plans within the limits, the score of each, and the best that is known; `about` says how many there are."""

    space: Space
    score: Callable[[Plan], float]
    best: float
    about: str = ""


@functools.cache
def two_choices(sites: int, seed: int) -> Landscape:
    """A chain of sites to be kept or cut, 40 % of whose latency has to go.

    The log odds of a right answer are 3, plus a normal number for each cut, -0.08 +- 0.2, and for each pair of cuts, at
    a distance of d <= 11 blocks -0.2 / d +- 0.2 / sqrt(d): what least squares finds in the demo's supernet.
    """
    random = np.random.default_rng(seed)
    single = random.normal(-0.08, 0.2, sites)
    pairs = np.zeros((sites, sites))
    for first, second in itertools.combinations(range(sites), 2):
        apart = second - first
        if apart <= FAR:
            pairs[first, second] = random.normal(-0.2 / apart, 0.2 / math.sqrt(apart))
    saved = random.uniform(0.5, 1.5, sites)[:, None]
    space = _space(sites, ("drop",), saved, f"two-{seed}")
    best = solved_plan(space, single, pairs, most_pairs=sites * sites)
    assert best is not None
    score = _scorer(space, Gains(UNCUT, single, pairs))
    return Landscape(space, score, score(best))


@functools.cache
def six_choices(sites: int, seed: int) -> Landscape:
    """The same where a site may be narrower by a quarter, half or three quarters, have a layer in its place, or go.

    Dropping a site costs |normal| * 0.6 in log odds, and the others `HARMED` of it, times a lognormal number of spread
    0.3. Two cuts cost more or less together than apart: the product of what each costs, times a number that is drawn
    for their two sites, at a distance of d <= 11 blocks 0.2 +- 0.4 over the root of d. With layers fitted to the demo's
    network interactions were seen to go with such products; how large the numbers are was estimated from few pairs.
    """
    return _graded(sites, seed, "six", _by_sites)


@functools.cache
def rugged(sites: int, seed: int) -> Landscape:
    """The same with interactions that are drawn for every pair of cuts by itself, so that nothing which is learned of
    one says anything of another: a normal number of spread 0.4 / d times the root of the product of what each costs."""
    return _graded(sites, seed, "rugged", _by_cuts)


Drawn = Callable[[np.random.Generator, Space, Array], Array]
"""(random, space, what single cuts cost (cuts,)) -> interactions (cuts, cuts), of which the upper triangle counts."""


def _by_sites(random: np.random.Generator, space: Space, costs: Array) -> Array:
    sites = len(space.chain.blocks)
    apart = np.arange(sites)[None] - np.arange(sites)[:, None]
    near = (apart > 0) & (apart <= FAR)
    drawn = np.divide(random.normal(0.2, 0.4, apart.shape), np.sqrt(apart), out=np.zeros(apart.shape), where=near)
    found: Array = np.outer(costs, costs) * drawn[space.places][:, space.places]
    return found


def _by_cuts(random: np.random.Generator, space: Space, costs: Array) -> Array:
    apart = space.places[None] - space.places[:, None]
    spread = np.divide(0.4, apart, out=np.zeros(apart.shape), where=(apart > 0) & (apart <= FAR))
    found: Array = random.normal(0, 1, apart.shape) * spread * np.sqrt(np.outer(costs, costs))
    return found


def _graded(sites: int, seed: int, name: str, interactions: Drawn) -> Landscape:
    random = np.random.default_rng(1_000 + seed)
    dropped = np.abs(random.normal(0, 0.6, sites))
    harms = dropped[:, None] * np.array(HARMED) * np.exp(random.normal(0, 0.3, (sites, len(HARMED))))
    saved = random.uniform(0.5, 1.5, sites)[:, None] * np.array(list(SAVED.values()))
    space = _space(sites, tuple(SAVED), saved, f"{name}-{seed}")
    costs = harms.ravel()
    gains = Gains(UNCUT, -costs, interactions(random, space, costs))
    drawn, starts = Random(seed), []
    for _ in range(CLIMBS):
        plan = feasible_plan(space, random_wish(space, drawn), drawn)
        assert plan is not None, "there is room for plans"
        starts.append(space.vector(plan))
    score = _scorer(space, gains)
    return Landscape(space, score, max(score(space.plan(climbed(space, start, gains))) for start in starts))


def _space(sites: int, cuts: tuple[str, ...], saved: Array, name: str) -> Space:
    """Sites of which no cut is more than another but in what it saves, (sites, cuts)."""
    blocks = tuple(Block(f"blocks.{site}", "block", f"block {site}", (KEEP, *cuts)) for site in range(sites))
    whole = float(saved[:, -1].sum())
    sizes = {(block.name, KEEP): float(saved[site, -1]) for site, block in enumerate(blocks)}
    sizes |= {
        (block.name, cut): float(saved[site, -1] - saved[site, number])
        for site, block in enumerate(blocks)
        for number, cut in enumerate(cuts)
    }
    chain = Chain(f"synthetic-{sites}-{name}", "synthetic", (3, 1, 1), blocks)
    return Space.of(chain, [SizeLimit("ms", LEFT * whole, whole, sizes)])


def _scorer(space: Space, gains: Gains) -> Callable[[Plan], float]:
    return lambda plan: float(1 / (1 + np.exp(-gains.scores(space.vector(plan)[None])[0])))


@functools.cache
def demo(folder: Path) -> Landscape:
    """The demo's supernet under a share of the latency of the device of exact arithmetic."""
    model, scores = load_model("deit_digits", pretrained=True), demo_scores(folder / "demo.npy")
    chain, table = describe(model), profile(model, Null(), max_seconds=0.1)
    limit = LatencyLimit(table, DEMO_BUDGET * table.latency_ms(Plan(chain.model)))
    attentions = [block.name for block in chain.blocks if MERGE not in block.choices]
    space = Space.of(chain, [limit], keep=attentions, only=[MERGE])
    within = [score for plan, score in scores.items() if space.admits(plan)]
    about = f"{len(within)} of {len(scores)} plans fit {DEMO_BUDGET:g}"
    return Landscape(space, scores.__getitem__, max(within), about)


def demo_scores(path: Path) -> dict[Plan, float]:
    """The score of every way of merging the 12 FFNs of the demo's supernet, trained as a run trains it; kept there."""
    model = load_model("deit_digits", pretrained=True)
    chain = describe(model)
    ffns = [block.name for block in chain.blocks if MERGE in block.choices]
    plans = [
        chain.plan(dict.fromkeys((name for name, cut in zip(ffns, way, strict=True) if cut), MERGE))
        for way in itertools.product((False, True), repeat=len(ffns))
    ]
    if path.exists():
        return dict(zip(plans, np.load(path).tolist(), strict=True))
    data, settings = DigitScenes(), TrainSettings(2)
    network = supernet(model)
    calibrate_norms(network, chain.plan(dict.fromkeys(ffns, MERGE)), data, settings)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = CheckpointFile(Path(folder) / "supernet.safetensors", "search quality")
        fit(SupernetObjective(network), data, settings, checkpoint, silent)
    network.eval()
    scores = [score.value for score in Evaluator(network, list(data.calibration_batches(batch_size=128)))(plans)]
    np.save(path, np.array(scores))
    return dict(zip(plans, scores, strict=True))
