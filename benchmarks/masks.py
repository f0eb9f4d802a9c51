"""Does learning masks beside the weights find better sparse networks than the older methods?

    python benchmarks/masks.py --output masks-out --baselines progressive-out

The small ResNet and the small ViT of `progressive.py`, trained to tell the larger of two digits, lose blocks of their
weights, output channels, or two weights of every four, on 1,024 scenes that stay the same: by each method, for the same
epochs, at the same learning rate, with the same number of groups left and at least the same part of the training under
the final masks, by three seeds. The scenes that count are made of digits that no training saw; epochs, learning rate
and SMART's settings were chosen by another seed than these, those of the others hardly at all. Two processes of one
thread each work on it; typed again, it goes on from where it was. The table goes to `benchmarks/results/`.
"""

import argparse
import dataclasses
import functools
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any, Final

from torch import nn

from profiles.files import write_whole
from pruner.data.images import Batch
from pruner.masks.granularity import parse
from pruner.masks.masked import Masked
from pruner.masks.methods import METHODS, Method, known_method
from pruner.masks.sparsifying import Sparsifying
from pruner.models.checkpoint import CheckpointFile
from pruner.progress import silent
from pruner.training.accuracy import accuracy
from pruner.training.loop import fit
from pruner.training.settings import Optimizing, TrainSettings
from shared.baselines import baseline
from shared.digit_relations import FewRelations
from shared.processes import processes_of_one_thread, spent
from shared.spreads import mean_and_deviation
from shared.tables import RESULTS, markdown_table, publish

FAMILIES: Final = ("resnet", "vit")
EPOCHS: Final = 5
LEARNING_RATE: Final = 1e-3
_CALIBRATION_IMAGES: Final = 100  # what is judged after an epoch is of no account here
# What a column is called -> its granularity and sparsity, which N:M has of itself.
COLUMNS: Final[Mapping[str, tuple[str, float | None]]] = {
    "blocks 30 %": ("16x8x1x1", 0.3),
    "blocks 50 %": ("16x8x1x1", 0.5),
    "blocks 70 %": ("16x8x1x1", 0.7),
    "channels 20 %": ("channels", 0.2),
    "channels 50 %": ("channels", 0.5),
    "2:4": ("2:4", None),
}
TITLES: Final = {"smart": "SMART", "pdp": "PDP", "acdc": "AC/DC", "pas": "PaS", "awg": "AWG", "magnitude": "magnitude"}


@dataclasses.dataclass(frozen=True)
class Job:
    """One training: a family, a column, a method, a seed."""

    family: str
    column: str
    method: str
    seed: int

    @property
    def file(self) -> str:
        column = self.column.replace(" %", "").replace(" ", "-").replace(":", "-")
        return f"{self.family}-{column}-{self.method}-{self.seed}.json"


@dataclasses.dataclass(frozen=True)
class Study:
    """How much of everything."""

    epochs: int = EPOCHS
    train_images: int = 1_024
    test_images: int = 2_000

    @property
    def data(self) -> FewRelations:
        return FewRelations(self.train_images, _CALIBRATION_IMAGES, self.test_images)

    def accuracy(self, network: nn.Module) -> float:
        return accuracy(network, _test_scenes(self))


@functools.cache
def _test_scenes(study: Study) -> tuple[Batch, ...]:
    """Made once in a process: they are the same for all jobs."""
    return tuple(study.data.test_batches(batch_size=250))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("masks-out"))
    parser.add_argument("--baselines", type=Path, default=Path("progressive-out"), help="--output of progressive.py")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the table")
    parser.add_argument("--networks", nargs="+", default=list(FAMILIES))
    parser.add_argument("--columns", nargs="+", default=list(COLUMNS))
    parser.add_argument("--methods", nargs="+", default=list(TITLES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--processes", type=int, default=2)
    for field in dataclasses.fields(Study):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=int, default=field.default)
    asked = parser.parse_args()

    began = time.monotonic()
    asked.output.mkdir(parents=True, exist_ok=True)
    study = Study(asked.epochs, asked.train_images, asked.test_images)
    # Seed by seed: what is there after a part of the time is a whole table of fewer seeds.
    jobs = [
        Job(family, column, method, seed)
        for seed in asked.seeds
        for family in asked.networks
        for column in asked.columns
        for method in asked.methods
    ]
    with processes_of_one_thread(asked.processes) as pool:
        waiting = [pool.submit(carried_out, job, study, asked.baselines, asked.output) for job in jobs]
        for done in as_completed(waiting):
            print(f"{done.result()}, {time.monotonic() - began:.0f} s", flush=True)
    record = {
        "jobs": [json.loads((asked.output / job.file).read_text()) for job in jobs],
        "baselines": {family: study.accuracy(baseline(family, asked.baselines)) for family in asked.networks},
        "seconds": spent(asked.output, time.monotonic() - began),
    }
    lines = [*tables(record, asked.networks, asked.columns, asked.methods), "", note(record, asked, study)]
    publish("masks", lines, record, asked.results)


def carried_out(job: Job, study: Study, baselines: Path, output: Path) -> str:
    """One line about a job, which leaves its figures in a file."""
    file = output / job.file
    if not file.exists():
        began = time.process_time()
        masked = trained(job, study, baseline(job.family, baselines), known_method(job.method))
        record = dataclasses.asdict(job) | {
            "accuracy": study.accuracy(masked.hardened()),
            "groups_left": sum(int(mask.sum()) for mask in masked.support().values()),
            "sparsities": masked.sparsities(),
            "core_seconds": time.process_time() - began,
        }
        write_whole(file, json.dumps(record) + "\n")
    found = json.loads(file.read_text())
    return (
        f"{job.family} {job.column} {job.method} {job.seed}: {found['accuracy']:.2%} in "
        f"{found['core_seconds']:.0f} core-seconds"
    )


def trained(job: Job, study: Study, whole: nn.Module, method: Method) -> Masked:
    """The network after one training, its masks decided."""
    granularity, sparsity = COLUMNS[job.column]
    masked = Masked(whole, parse(granularity), sparsity, method)
    settings = TrainSettings(study.epochs, seed=job.seed, optimizing=Optimizing(lr=LEARNING_RATE))
    with tempfile.TemporaryDirectory() as folder:
        fit(Sparsifying(masked), study.data, settings, CheckpointFile(Path(folder) / "state", "study"), silent)
    return masked


def tables(
    record: dict[str, Any], families: Sequence[str], columns: Sequence[str], methods: Sequence[str]
) -> list[str]:
    """A table for each family, methods by columns. Bold is what is first in a column, or within the first's spread."""
    lines: list[str] = []
    for family in families:
        heading = f"{family} ({100 * record['baselines'][family]:.2f} uncut), test accuracy in %"
        rows = [
            (TITLES[method], *(cell(record, family, column, method, methods) for column in columns))
            for method in methods
        ]
        lines += [*markdown_table((heading, *columns), rows), ""]
    return lines[:-1]


def figures(record: dict[str, Any], family: str, column: str, method: str) -> tuple[float, float]:
    """(mean, standard deviation) over the seeds, in %."""
    wanted = (family, column, method)
    found = [100 * job["accuracy"] for job in record["jobs"] if (job["family"], job["column"], job["method"]) == wanted]
    return mean_and_deviation(found)


def cell(record: dict[str, Any], family: str, column: str, method: str, methods: Sequence[str]) -> str:
    mean, spread = figures(record, family, column, method)
    text = f"{mean:.2f} ± {spread:.2f}"
    return f"**{text}**" if place(record, family, column, method, methods) else text


def place(record: dict[str, Any], family: str, column: str, method: str, methods: Sequence[str]) -> str:
    """'first', 'within' the first's standard deviation, or nothing."""
    best, spread = max(figures(record, family, column, other) for other in methods)
    mean, _ = figures(record, family, column, method)
    if mean == best:
        return "first"
    return "within" if mean >= best - spread else ""


def note(record: dict[str, Any], asked: argparse.Namespace, study: Study) -> str:
    """How it was done, and in how many columns SMART is ahead."""
    method = "smart" if "smart" in asked.methods else asked.methods[0]
    places = [
        place(record, family, column, method, asked.methods) for family in asked.networks for column in asked.columns
    ]
    assert set(asked.methods) <= METHODS.keys()
    return (
        f"Bold: first, or within the first's standard deviation. Of {len(places)} columns {TITLES[method]} is first in "
        f"{places.count('first')} and within the first's standard deviation in {places.count('within')} more. "
        f"{len(asked.seeds)} seeds, {study.epochs} epochs over {study.train_images} scenes, {study.test_images} test "
        f"scenes; the whole study took {record['seconds'] / 60:.0f} minutes of two cores of a shared machine."
    )


if __name__ == "__main__":
    main()
