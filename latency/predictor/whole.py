"""What published figures of whole networks taught beyond operators: the host's time, how far off sums of kernels are,
and what a card's kernels of each class have to be multiplied by. It ships as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import profiles
from latency.predictor.host import HostTime
from latency.predictor.listen import Operator
from profiles.files import write_whole
from profiles.judgement import Judgement

NETWORKS: Final = Path(profiles.__file__).parent / "networks.json"
_SCHEMA: Final = "depthfinder.networks"
_VERSION: Final = 1
TERMS: Final = (
    *("linear", "attention", "pointwise", "dense", "grouped", "depthwise", "norm", "cheap", "costly"),
    "layout",
)
"""What a figure of a whole network can tell apart: classes of kernels, and what it takes to lay the images of
convolutions out for the units that multiply matrices and back, for which a convolution's traffic stands."""
SOFTMAX: Final = "softmax"
"""Of an attention that runs as one kernel nothing is left but its products."""


def class_of(operator: Operator) -> str:
    """Which of TERMS, or SOFTMAX, an operator belongs to."""
    if operator.kind == "conv":
        _, c_in, _, kernel, _, _, _, groups = operator.dims
        if groups > 1:
            return "depthwise" if groups == c_in else "grouped"
        return "pointwise" if kernel == 1 else "dense"
    if operator.kind == "elementwise":
        return "costly" if operator.dims[3] else "cheap"
    return {"bmm": "attention", "ln": "norm"}.get(operator.kind, operator.kind)


@dataclass(frozen=True)
class Card:
    """A device by the networks that were measured on it, or on cards like it.

    `factors` multiply its kernels by TERMS, where they were corrected, in the dtype of `corrected`; `error` is what
    nine in ten sums of a network's kernels stay within. `sustained_tflops` is the most that its large products in fp32
    keep up: smaller ones were timed in bursts, which a card that its power holds back does not keep up in a network.
    """

    error: float
    judged: tuple[Judgement, ...]
    sustained_tflops: float | None = None
    factors: Mapping[str, float] = field(default_factory=dict)
    corrected: str | None = None

    def factors_in(self, dtype: str) -> Mapping[str, float]:
        """What its kernels in a dtype are multiplied by: nothing is known of another than that which was corrected."""
        return self.factors if dtype == self.corrected else {}


@dataclass(frozen=True)
class WholeNetworks:
    """`host` and how it was judged, and cards by device; `others` is what holds for devices that no network was
    measured on."""

    host: HostTime
    host_judged: tuple[Judgement, ...]
    cards: Mapping[str, Card]
    others: Card

    def card(self, device: str) -> Card:
        return self.cards.get(device, self.others)

    def save(self, path: Path) -> None:
        """As JSON."""
        head = {"schema": _SCHEMA, "version": _VERSION}
        write_whole(path, json.dumps(head | asdict(self), indent=1, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> "WholeNetworks":
        """Raises `FileNotFoundError`, and `ValueError` for a file of another version."""
        record = json.loads(path.read_text(encoding="utf-8"))
        if (record.get("schema"), record.get("version")) != (_SCHEMA, _VERSION):
            raise ValueError(f"{path} is no {_SCHEMA} of version {_VERSION}")
        cards = {device: _card(one) for device, one in record["cards"].items()}
        return cls(HostTime(**record["host"]), _judged(record["host_judged"]), cards, _card(record["others"]))


def _card(record: Mapping[str, Any]) -> Card:
    return Card(**{**record, "judged": _judged(record["judged"])})


def _judged(records: Sequence[Mapping[str, Any]]) -> tuple[Judgement, ...]:
    return tuple(Judgement(**one) for one in records)


@cache
def shipped_networks() -> WholeNetworks:
    """What comes with the package."""
    return WholeNetworks.load(NETWORKS)
