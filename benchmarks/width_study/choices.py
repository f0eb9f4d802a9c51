"""What `benchmarks/width.py` brings each arm to a budget with: a ratio of torch-pruning's, or a plan."""

import dataclasses
import functools
import json
import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

import depthfinder as df
from latency.devices import Mode, open_device
from latency.timing import time_interleaved
from profiles.profile import Profile
from profiles.store import load_profile
from pruner.choices.choice import FOLDS, OWN_WEIGHTS, SHARES
from pruner.choices.plan import Plan
from pruner.models.checkpoint import CheckpointFile
from pruner.network.calibration import estimate_batch_norm
from pruner.network.image_size import input_size_of
from pruner.progress import silent
from pruner.scoring.evaluator import Evaluator
from pruner.training.accuracy import accuracy
from pruner.training.loop import fit
from pruner.training.objective import Supervised, Teaching, light_copy
from search.errors import BudgetUnreachableError
from search.limits import LatencyLimit
from search.space import Space
from shared.baselines import FEW
from shared.plans_within import best_plan, by_fits, scorer
from shared.trained_plans import trained_plan
from width_study.asked import DEVICE, Asked, kept_in, learned, named, settings_for
from width_study.narrowing import WAYS, Way, bisected, gradients_of, least_pruned, narrowed, widths
from width_study.table import DEPTH, REFITTED, TOGETHER, WIDTH

SUPERNET_SEED: Final = 21
TRYOUT_SEED: Final = 22
BY_SUPERNET, BY_FITS = "by a supernet", "by fits"
SCORED_BY: Final = {DEPTH: (BY_SUPERNET,), TOGETHER: (BY_SUPERNET, BY_FITS)}
ALSO: Final[Mapping[str, tuple[str, ...]]] = {DEPTH: (), TOGETHER: tuple(SHARES)}
NEIGHBOURS: Final = 2


def narrow(family: str, way: Way, part: int, asked: Asked) -> nn.Module:
    return narrowed(learned(family, asked.baselines), gradients_for(family, asked.baselines), way, part)


@functools.cache
def gradients_for(family: str, baselines: Path) -> tuple[Tensor, ...]:
    return gradients_of(learned(family, baselines), FEW.train_batches(epoch=0, batch_size=64, seed=0))


def ratios(family: str, networks: Mapping[int, nn.Module], seconds: float, asked: Asked) -> dict[int, float]:
    """What networks take as a share of what the baseline takes in the same rounds."""
    whole, device = learned(family, asked.baselines), open_device(DEVICE, Mode(1))
    images = torch.rand(1, *input_size_of(whole), generator=torch.Generator().manual_seed(0))
    programs = {str(part): device.load(light_copy(network), images) for part, network in networks.items()}
    timings = time_interleaved(
        {"baseline": device.load(light_copy(whole), images), **programs}, seconds=seconds, seed=0
    )
    return {part: timings.ratio(str(part), "baseline").value for part in networks}


def narrow_enough(family: str, way: Way, asked: Asked) -> Any:
    """By budget, the part that quick readings take to be at it or just below it."""
    known: dict[str, float] = {}

    def ratio_at(part: int) -> float:
        network = narrow(family, way, part, asked)
        if widths(network) not in known:
            known[widths(network)] = ratios(family, {part: network}, asked.quick_seconds, asked)[part]
        return known[widths(network)]

    file = asked.output / f"{family}-parts-{way.round_to}-{way.head_share}.json"
    return kept_in(file, lambda: {str(budget): bisected(ratio_at, budget) for budget in asked.budgets})


def tried(family: str, budget: float, way: Way, asked: Asked) -> str:
    """Leaves the accuracy on calibration scenes after a short training."""

    def find() -> float:
        part = narrow_enough(family, way, asked)[str(budget)]
        network = tuned(family, narrow(family, way, part, asked), asked.tryout_epochs, TRYOUT_SEED, asked)
        return accuracy(network, FEW.calibration_batches(batch_size=100))

    found = kept_in(_tryout(family, budget, way, asked), find)
    return f"{family} {budget} {way.text}: {found:.2%} on calibration scenes"


def _tryout(family: str, budget: float, way: Way, asked: Asked) -> Path:
    return asked.output / f"{family}-{budget}-tryout-{way.round_to}-{way.head_share}.json"


def settled(family: str, budget: float, asked: Asked) -> Any:
    """The way that did best when tried, and about the part that was found for it the least pruned network that is at
    the budget or below it by longer readings."""

    def find() -> dict[str, Any]:
        tryouts = {way: json.loads(_tryout(family, budget, way, asked).read_text()) for way in WAYS[family]}
        way = max(tryouts, key=lambda one: tryouts[one])
        part, read = least_pruned(
            lambda part: narrow(family, way, part, asked),
            lambda networks: ratios(family, networks, asked.long_seconds, asked),
            budget,
            narrow_enough(family, way, asked)[str(budget)],
            NEIGHBOURS,
        )
        found = {"tryouts": {one.text: tryouts[one] for one in tryouts}, "read": read}
        if part is None:
            return found | {"unreachable": f"{way.text}: nothing that was measured fits"}
        return found | {"way": dataclasses.asdict(way), "part": part, "ratio": read[part]}

    return kept_in(asked.output / f"{named(family, budget, WIDTH)}.json", find)


def table(family: str, arm: str, asked: Asked) -> Profile:
    file = asked.output / f"{family}-table{'-widths' if ALSO[arm] else ''}.json"
    if not file.exists():
        extra_choices = OWN_WEIGHTS if ALSO[arm] else ()
        df.profile(
            learned(family, asked.baselines), DEVICE, extra_choices=extra_choices, max_seconds=asked.table_seconds
        ).save(file)
    return load_profile(file)


@functools.cache
def scorer_of(family: str, arm: str, asked: Asked) -> Evaluator:
    settings = settings_for(asked.supernet_epochs, SUPERNET_SEED)
    file = CheckpointFile(
        asked.output / f"{family}-supernet{'-widths' if ALSO[arm] else ''}.safetensors", f"{family} {arm} {settings}"
    )
    return scorer(learned(family, asked.baselines), FEW, settings, file, ALSO[arm])


def supernet_of(family: str, arm: str, asked: Asked) -> str:
    """Leaves a trained supernet in the output folder."""
    scorer_of(family, arm, asked)
    return f"{family}: supernet for {arm}"


@functools.cache
def _scored(family: str, arm: str, by: str, asked: Asked) -> tuple[Evaluator, Callable[[LatencyLimit], Space]]:
    """What scores plans, and which there are."""
    whole = learned(family, asked.baselines)
    if by == BY_FITS:
        fits = by_fits(family, whole, choices=(*OWN_WEIGHTS, *FOLDS))
        return fits.evaluate, fits.space_of
    chain = df.describe(whole, ALSO[arm])
    return scorer_of(family, arm, asked), lambda limit: Space.of(chain, [limit]).without_dominated_cuts()


def searched(family: str, budget: float, arm: str, by: str, asked: Asked) -> Any:
    """The plan that a search finds within the budget, and what its network took when it was chosen."""

    def find() -> dict[str, Any]:
        evaluate, space_of = _scored(family, arm, by, asked)
        try:
            winner = best_plan(
                learned(family, asked.baselines),
                open_device(DEVICE, Mode(1)),
                table(family, arm, asked),
                evaluate,
                space_of=space_of,
                share=budget,
                trials=asked.trials,
                seconds=asked.long_seconds,
                tell=print,
            )
        except BudgetUnreachableError as error:
            return {"by": by, "unreachable": str(error)}
        verdict, found = winner.verdicts[0], {"by": by, "plan": winner.candidate.plan.to_json()}
        return found | {"score": winner.candidate.score, "ratio": verdict.ratio, "answer": verdict.answer}

    return kept_in(asked.output / f"{named(family, budget, arm)}-{named('', '', by)}.json", find)


def tried_out(family: str, budget: float, by: str, asked: Asked) -> str:
    """Leaves the accuracy on calibration scenes of a plan of all together after a short training."""
    found = searched(family, budget, TOGETHER, by, asked)
    if "plan" not in found:
        return f"{family} {budget} {by}: not reached"

    def find() -> float:
        cut = cut_for(family, Plan.from_json(found["plan"]), asked.tryout_epochs, TRYOUT_SEED, asked)[0]
        return accuracy(cut, FEW.calibration_batches(batch_size=100))

    tried = kept_in(asked.output / f"{named(family, budget, 'tried')}-{named('', '', by)}.json", find)
    return f"{family} {budget} {by}: {tried:.2%} on calibration scenes"


def decided(family: str, budget: float, arm: str, asked: Asked) -> Any:
    """The plan by fits, unless that by a supernet was better when tried out by more than the standard error of so few
    scenes; one whose measurement cannot be believed only where there is no other."""

    def find() -> Any:
        found = [searched(family, budget, arm, by, asked) for by in SCORED_BY[arm]]
        reached = [one for one in found if "plan" in one]
        reached = [one for one in reached if one["answer"] == "met"] or reached
        if len(reached) < 2:
            return (reached or found)[0]
        tried = {
            one["by"]: json.loads(
                (asked.output / f"{named(family, budget, 'tried')}-{named('', '', one['by'])}.json").read_text()
            )
            for one in reached
        }
        right, scenes = tried[BY_FITS], sum(len(images) for images, _ in FEW.calibration_batches(batch_size=100))
        clearly = tried[BY_SUPERNET] - right > math.sqrt(right * (1 - right) / scenes)
        best = BY_SUPERNET if clearly else BY_FITS
        return next(one for one in reached if one["by"] == best) | {"tryouts": tried}

    return kept_in(asked.output / f"{named(family, budget, arm)}.json", find)


def chosen_for(family: str, budget: float, arm: str, asked: Asked) -> Any:
    arm = WIDTH if arm == REFITTED else arm
    return json.loads((asked.output / f"{named(family, budget, arm)}.json").read_text())


def arms_of(family: str, budget: float, asked: Asked) -> list[str]:
    """Those that reach the budget."""
    return [arm for arm in asked.arms if "unreachable" not in chosen_for(family, budget, arm, asked)]


def cut_for(family: str, plan: Plan, epochs: int, seed: int, asked: Asked) -> tuple[nn.Module, float]:
    """The plan's network, trained and merged, and its accuracy as it was cut and fitted, before the training."""
    images = [some for some, _ in FEW.train_batches(epoch=0, batch_size=64, seed=0)]
    return trained_plan(learned(family, asked.baselines), plan, FEW, settings_for(epochs, seed), images)


def tuned(family: str, network: nn.Module, epochs: int, seed: int, asked: Asked) -> nn.Module:
    """A narrowed network, trained; like a cut one it ends with BatchNorm statistics taken anew."""
    settings, teacher = settings_for(epochs, seed), Teaching(light_copy(learned(family, asked.baselines)))
    with tempfile.TemporaryDirectory() as folder:
        file = CheckpointFile(Path(folder) / "state.safetensors", "width")
        fit(Supervised(network, teacher), FEW, settings, file, silent)
    batches = FEW.train_batches(epoch=epochs, batch_size=settings.batch_size, seed=seed)
    estimate_batch_norm(network, (images for images, _ in batches))
    return network.eval()
