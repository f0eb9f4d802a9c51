"""Does the supernet rank plans as they rank once they are trained, and which way of training it ranks best?

    python benchmarks/ranking.py --output progressive-out

Takes the baselines of `benchmarks/progressive.py` from its output folder, or trains them there. For each family, one
supernet is trained by every way of drawing plans; then 20 plans that cut from a fifth to nearly all of the blocks are
scored by each, as a search scores them with BatchNorm statistics taken anew, and trained to the end as that study
trains. Spearman's rank correlation says how alike the two orders are. Typed again, it goes on from where it was.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import as_completed
from pathlib import Path
from random import Random
from typing import Any, Final

from scipy.stats import spearmanr

from profiles.files import write_whole
from pruner.choices.chain import Chain
from pruner.choices.choice import MERGE
from pruner.choices.plan import Plan
from pruner.models.checkpoint import CheckpointFile
from pruner.network.surgery import apply, describe, supernet
from pruner.progress import silent
from pruner.scoring.evaluator import Evaluator
from pruner.training.loop import fit
from pruner.training.objective import Teaching, light_copy
from pruner.training.progressive import Progressive, calibrate_norms, finalize
from pruner.training.settings import Optimizing, TrainSettings
from pruner.training.supernet import Draw, RandomPlans, Sandwich, SupernetObjective
from shared.baselines import EPOCHS, FEW, LEARNING_RATE, baseline, test_accuracy
from shared.processes import processes_of_one_thread
from shared.small_networks import NETWORKS
from shared.tables import markdown_table, publish

PLANS: Final = 20
SUPERNET_EPOCHS: Final = 2 * EPOCHS
SEED: Final = 21
SAMPLINGS: Final = ("random", "random, 2 plans", "sandwich")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("progressive-out"))
    parser.add_argument("--networks", nargs="+", default=["resnet", "vit"])
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()

    arguments.output.mkdir(parents=True, exist_ok=True)
    jobs = [(family, sampling) for family in arguments.networks for sampling in SAMPLINGS]
    jobs += [(family, place) for family in arguments.networks for place in range(PLANS)]
    began = time.monotonic()
    with processes_of_one_thread(arguments.processes) as pool:
        for one in as_completed([pool.submit(carried_out, *job, arguments.output) for job in jobs]):
            print(f"{one.result()}, {time.monotonic() - began:.0f} s", flush=True)
    record = {family: read(family, arguments.output) for family in arguments.networks}
    heads = ("network", "supernet's plans", "Spearman", "trained accuracy of the plans")
    rows = [row(family, sampling, found) for family, found in record.items() for sampling in SAMPLINGS]
    lines = [*markdown_table(heads, rows), ""]
    lines += [f"{PLANS} plans of each network, each trained to the end; supernets of {SUPERNET_EPOCHS} epochs."]
    publish("ranking", lines, record)


def carried_out(family: str, what: str | int, output: Path) -> str:
    """Trains one plan (by its place), or a supernet (by how its plans are drawn), and leaves the figures in a file."""
    file = output / f"ranking-{family}-{str(what).replace(', ', '-').replace(' ', '-')}.json"
    if not file.exists():
        found = scores(family, what, output) if isinstance(what, str) else trained(family, what, output)
        write_whole(file, json.dumps(found) + "\n")
    return f"{family} {what}"


def plans_of(chain: Chain) -> list[Plan]:
    """Plans that cut more and more."""
    random = Random(SEED)
    found: list[Plan] = []
    while len(found) < PLANS:
        plan = chain.random_plan(0.2 + 0.7 * len(found) / (PLANS - 1), random)
        if plan.choices and plan not in found:
            found.append(plan)
    return found


def scores(family: str, sampling: str, output: Path) -> list[float]:
    """What a supernet that was trained with plans drawn so makes of every plan."""
    network = supernet(baseline(family, output))
    chain = network.chain
    settings = TrainSettings(SUPERNET_EPOCHS, seed=SEED, optimizing=Optimizing(lr=LEARNING_RATE))
    calibrate_norms(network, chain.plan({b.name: MERGE for b in chain.blocks if MERGE in b.choices}), FEW, settings)
    draws: Mapping[str, Draw] = {
        "random": RandomPlans(chain),
        "random, 2 plans": RandomPlans(chain, 2),
        "sandwich": Sandwich(chain, RandomPlans(chain)),
    }
    with tempfile.TemporaryDirectory() as folder:
        file = CheckpointFile(Path(folder) / "state.safetensors", "ranking")
        fit(SupernetObjective(network, draws[sampling]), FEW, settings, file, silent)
    batches = FEW.train_batches(epoch=settings.epochs, batch_size=64, seed=SEED)
    statistics = [images for _, (images, _) in zip(range(8), batches, strict=False)]
    evaluator = Evaluator(network, list(FEW.calibration_batches(batch_size=100)), statistics=statistics)
    return [score.value for score in evaluator(plans_of(chain))]


def trained(family: str, place: int, output: Path) -> float:
    """Test accuracy of one plan, trained as the study of progressive training trains by default."""
    whole = baseline(family, output)
    plan = plans_of(describe(whole))[place]
    settings = TrainSettings(EPOCHS, seed=SEED, optimizing=Optimizing(lr=LEARNING_RATE))
    cut = apply(whole, plan)
    calibrate_norms(cut, plan, FEW, settings)
    with tempfile.TemporaryDirectory() as folder:
        file = CheckpointFile(Path(folder) / "state.safetensors", "ranking")
        fit(Progressive(cut, Teaching(light_copy(whole))), FEW, settings, file, silent)
    finalize(cut, FEW, settings)
    return test_accuracy(cut)


def read(family: str, output: Path) -> dict[str, Any]:
    def of(what: str) -> Any:
        return json.loads((output / f"ranking-{family}-{what}.json").read_text())

    supernets = {sampling: of(sampling.replace(", ", "-").replace(" ", "-")) for sampling in SAMPLINGS}
    return {"trained": [of(str(place)) for place in range(PLANS)], "scores": supernets}


def row(family: str, sampling: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    rank = spearmanr(found["scores"][sampling], found["trained"]).statistic
    low, high = min(found["trained"]), max(found["trained"])
    return NETWORKS[family].entry, sampling, f"{rank:.3f}", f"{low:.1%} to {high:.1%}"


if __name__ == "__main__":
    main()
