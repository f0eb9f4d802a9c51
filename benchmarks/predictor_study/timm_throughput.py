"""Networks of our families in timm's tables of throughput: how well a card's corrected kernels predict them.

A part of `benchmarks/whole_networks.py`.
"""

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.model_selection import KFold

from latency.predictor.correction import corrected_ms, factors
from latency.predictor.kernels import GAP_MS, KernelCosts
from latency.predictor.listen import Operator
from latency.predictor.mixed import MixedOperators, mixed_operators_of
from latency.predictor.tiles import Array
from latency.predictor.whole import Card
from profiles.descriptions import load_description
from profiles.judgement import Judgement
from pruner.errors import UnknownModelError
from pruner.models.load import load_model
from shared.tables import markdown_table, percent

CARDS = {"rtx3090": "pt240-cu124-rtx3090", "rtx4090": "pt240-cu124-rtx4090"}
LIKE = {"rtx5090": "rtx4090", "rtxpro6000": "rtx4090"}
"""Cards of which there is no figure, and the newest of those whose correction they take with the others'."""
FAMILIES = ("ResNet", "VisionTransformer", "ConvNeXt", "EfficientNet", "MobileNetV3")
SMALLEST_MS = 20.0  # below, a batch is the host's
FOLDS = 5


@dataclass(frozen=True)
class Measured:
    """A network as it was measured: ms for a batch."""

    name: str
    family: str
    took_ms: float
    operators: MixedOperators


def read(path: Path, listened: "Heard") -> list[Measured]:
    """The networks of our families in a table; what was listened to before is not run again."""
    found = []
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            key = (row["model"], int(row["infer_img_size"]), int(row["infer_batch_size"]))
            if key not in listened:
                listened[key] = listen(*key)
            heard, took_ms = listened[key], float(row["infer_step_time"])
            if heard is not None and took_ms >= SMALLEST_MS:
                found.append(Measured(row["model"], heard[0], took_ms, heard[1]))
    return found


def listen(name: str, side: int, batch: int) -> tuple[str, MixedOperators] | None:
    """(family, operators), None for a network of no family of ours or one that this timm does not make."""
    try:
        with torch.device("meta"):
            model = load_model(name, img_size=side)
    except UnknownModelError:
        return None
    kinds = {kind.__name__ for kind in type(model).__mro__}
    family = next((one for one in FAMILIES if one in kinds), None)
    if family is None:
        return None
    return family, mixed_operators_of(model, torch.empty(batch, 3, side, side, device="meta"))


def terms_of(device: str, networks: Sequence[Measured]) -> tuple[Array, Array]:
    """(N, terms) ms by term, and (N,) ms between kernels."""
    half, single = (KernelCosts(device, dtype, Card(0.0, ())) for dtype in ("fp16", "fp32"))
    sums = half.terms([one.operators.half for one in networks])
    sums = sums + single.terms([one.operators.single for one in networks])
    gaps = [GAP_MS * (len(one.operators.half) + len(one.operators.single)) for one in networks]
    return sums, np.array(gaps)


@dataclass(frozen=True)
class Found:
    """How predictions of networks compare: log(predicted / measured) (N,)."""

    errors: Array
    said_ms: Array
    took_ms: Array

    @classmethod
    def of(cls, said_ms: Array, took_ms: Array) -> "Found":
        return cls(np.log(said_ms / took_ms), said_ms, took_ms)

    @property
    def after_a_factor(self) -> float:
        """The mean error after one factor that all have in common, the median, is taken out."""
        return float(np.abs(np.expm1(self.errors - np.median(self.errors))).mean())

    @property
    def of_ratios(self) -> float:
        """The mean error of time(A) / time(B) over all pairs of networks."""
        first, second = np.triu_indices(len(self.errors), 1)
        return float(np.abs(np.expm1(self.errors[first] - self.errors[second])).mean())

    @property
    def cells(self) -> tuple[str, ...]:
        rank = float(spearmanr(self.said_ms, self.took_ms)[0])
        of_itself = float(np.abs(np.expm1(self.errors)).mean())
        return (percent(of_itself), percent(self.after_a_factor), percent(self.of_ratios), f"{rank:.3f}")


def left_out(sums: Array, gaps: Array, took_ms: Array, groups: Sequence[str]) -> Array:
    """What each network is predicted to take by a correction from the networks of other groups."""
    said_ms, labels = np.empty(len(took_ms)), np.array(groups)
    for group in sorted(set(groups)):
        out = labels == group
        by = factors(sums[~out], gaps[~out], took_ms[~out])
        said_ms[out] = corrected_ms(sums[out], gaps[out], by)
    return said_ms


def at_random(networks: Sequence[Measured]) -> list[str]:
    """Groups drawn at random; all rows of a name, whatever the size of image, are in one."""
    names = sorted({one.name for one in networks})
    group = {}
    for number, (_, chosen) in enumerate(KFold(FOLDS, shuffle=True, random_state=0).split(names)):
        group |= {names[place]: str(number) for place in chosen}
    return [group[one.name] for one in networks]


Heard = dict[tuple[str, int, int], tuple[str, MixedOperators] | None]


def remembered(path: Path | None) -> Heard:
    """What was listened to before, so that it need not be again: listening to all takes minutes."""
    if path is None or not path.exists():
        return {}
    found: Heard = {}
    for name, side, batch, family, *parts in json.loads(path.read_text()):
        half, single = (
            tuple(Operator(kind, tuple(dims)) for kind, dims, count in part for _ in range(count)) for part in parts
        )
        found[name, side, batch] = None if family is None else (family, MixedOperators(half, single))
    return found


def remember(path: Path | None, heard: Heard) -> None:
    if path is None:
        return
    lines = []
    for key, what in heard.items():
        family, operators = (None, MixedOperators((), ())) if what is None else what
        counted = (Counter((one.kind, one.dims) for one in part) for part in (operators.half, operators.single))
        lines.append([*key, family, *([[*one, count] for one, count in part.items()] for part in counted)])
    path.write_text(json.dumps(lines))


def throughput(folder: Path, heard: Path | None) -> tuple[list[str], Mapping[str, object], dict[str, Card]]:
    """The tables, their figures, and the corrected cards; `heard` is a file of what was listened to."""
    listened = remembered(heard)
    lines, by_family, record, cards, of_card = [], [], {}, {}, {}
    for device, file in CARDS.items():
        networks = read(folder / f"benchmark-infer-amp-nchw-{file}.csv", listened)
        took_ms = np.array([one.took_ms for one in networks])
        of_card[device] = (networks, *terms_of(device, networks), took_ms)
        print(device, len(networks), flush=True)
    remember(heard, listened)
    for device, (networks, sums, gaps, took_ms) in of_card.items():
        families = [one.family for one in networks]
        others = [one for name, one in of_card.items() if name != device]
        theirs = factors(*(np.concatenate(parts) for parts in zip(*(one[1:] for one in others), strict=True)))
        said = {
            "none": gaps + sums.sum(axis=1),
            "other networks": left_out(sums, gaps, took_ms, at_random(networks)),
            "other families": left_out(sums, gaps, took_ms, families),
            "the other card": corrected_ms(sums, gaps, theirs),
        }
        found = {name: Found.of(ms, took_ms) for name, ms in said.items()}
        lines += [(device, name, len(networks), *one.cells) for name, one in found.items()]
        for family in FAMILIES:
            mine = np.array(families) == family
            by_family.append((device, family, int(mine.sum()), *(
                cell for name in ("other networks", "other families")
                for cell in Found.of(said[name][mine], took_ms[mine]).cells
            )))  # fmt: skip
        own = factors(sums, gaps, took_ms)
        record[device] = {"factors": own, "networks": len(networks)} | {
            name: {"after_a_factor": one.after_a_factor, "of_ratios": one.of_ratios} for name, one in found.items()
        }
        cards[device] = card(own, found["other networks"], f"networks of timm on an {title(device)} under AMP")
        for like in (name for name, of in LIKE.items() if of == device):
            mean = {term: float(np.sqrt(own[term] * theirs[term])) for term in own}
            on = f"networks of timm on an {title(device)} under AMP, by the correction of another card: not this device"
            cards[like] = card(mean, found["the other card"], on)
    head = ("card", "corrected by", "networks", "error", "after one factor", "of ratios", "Spearman")
    note = (
        "AMP, NCHW, PyTorch 2.4. Error: mean of |predicted / measured - 1|; after one factor: the same when all "
        "predictions are multiplied by one number; of ratios: mean of the error of time(A) / time(B) over all pairs. "
        "Other networks: five folds by name; other families: all that timm builds by one class left out together."
    )
    figures = ("error", "one factor", "ratios", "Spearman")
    by = [f"{what}, {whose}" for whose in ("other networks", "other families") for what in figures]
    family_head = ("card", "family", "networks", *by)
    tables = [*markdown_table(head, lines), "", note, "", *markdown_table(family_head, by_family), ""]
    terms = sorted({term for one in cards.values() for term in one.factors})
    tables += markdown_table(("card", *terms), [(d, *(f"{c.factors[t]:.2f}" for t in terms)) for d, c in cards.items()])
    return tables, record, cards


def title(device: str) -> str:
    return load_description(device).title.removeprefix("NVIDIA ")


def card(by: Mapping[str, float], found: Found, on: str) -> Card:
    """What ships of a card; nine in ten networks that had no part in its correction were within `error`."""
    mean = float(np.abs(np.expm1(found.errors)).mean())
    judged = Judgement("kernels in fp16", on, len(found.errors), mean, covered(found.errors))
    return Card(nine_in_ten(found.errors), (judged,), None, by, "fp16")


def nine_in_ten(errors: Sequence[float] | Array) -> float:
    """The share that nine in ten of these logarithms of ratios, and one more, stay within."""
    sizes = np.sort(np.abs(errors))
    return float(np.expm1(sizes[min(len(sizes) - 1, int(np.ceil(0.9 * (len(sizes) + 1))) - 1)]))


def covered(errors: Sequence[float] | Array) -> float:
    """The share that lies within what nine in ten of the others do: each is judged without itself."""
    all_of = np.asarray(errors)
    return float(
        np.mean([abs(one) <= np.log1p(nine_in_ten(np.delete(all_of, place))) for place, one in enumerate(all_of)])
    )
