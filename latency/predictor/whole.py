"""What published latencies of whole networks teach beyond timings of operators; it comes with the package as JSON.

They teach the host's time, the error of sums of kernels, and the factors that correct a card's kernels.
"""

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
"""The file that comes with the package."""
_SCHEMA: Final = "depthfinder.networks"
_VERSION: Final = 1
TERMS: Final = (
    *("linear", "attention", "pointwise", "dense", "grouped", "depthwise", "norm", "cheap", "costly"),
    "layout",
)
"""The terms that whole networks can correct: classes of kernels, and `layout`.

The latter is the time to lay the images of convolutions out for matrix units and back. The memory traffic of the
convolutions stands for it.
"""
SOFTMAX: Final = "softmax"
"""The class of a softmax, which has no term: fused attention has no kernels but its products."""


def class_of(operator: Operator) -> str:
    """Returns which of `TERMS`, or `SOFTMAX`, an operator belongs to."""
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
    """What whole networks taught about one device.

    Attributes:
        error: The relative error that nine in ten sums of a network's kernels stay within.
        judged: How the sums of kernels were judged.
        sustained_tflops: The rate that large matrix products in fp32 sustain, in TFLOP/s. Smaller products were timed
            in bursts, whose rate a card that is limited by its power does not sustain in a network.
        factors: Term -> the factor on its kernels, if they were corrected.
        corrected: The dtype that the factors are of.
    """

    error: float
    judged: tuple[Judgement, ...]
    sustained_tflops: float | None = None
    factors: Mapping[str, float] = field(default_factory=dict)
    corrected: str | None = None

    def factors_in(self, dtype: str) -> Mapping[str, float]:
        """Returns the factors on kernels in a dtype; there are none for a dtype that was not corrected."""
        return self.factors if dtype == self.corrected else {}


@dataclass(frozen=True)
class WholeNetworks:
    """What whole networks taught about hosts and devices.

    Attributes:
        host: The host's time to issue operators.
        host_judged: How the host's time was judged.
        cards: Device -> what is known about it.
        others: What is taken for devices that no network was measured on.
    """

    host: HostTime
    host_judged: tuple[Judgement, ...]
    cards: Mapping[str, Card]
    others: Card

    def card(self, device: str) -> Card:
        """Returns what is known about a device."""
        return self.cards.get(device, self.others)

    def save(self, path: Path) -> None:
        """Writes everything as JSON."""
        head = {"schema": _SCHEMA, "version": _VERSION}
        write_whole(path, json.dumps(head | asdict(self), indent=1, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> "WholeNetworks":
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when the file is of another kind or version.
        """
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
    """Returns what comes with the package."""
    return WholeNetworks.load(NETWORKS)
