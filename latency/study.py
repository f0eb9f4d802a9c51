"""What is to be measured of a model: its distinct pieces and a few whole networks. Plain data that travels in kits."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from profiles.profile import Segment

REFERENCE: Final = "reference"
TRAFFIC: Final = "traffic"

RowKey = tuple[str, str]
"""A signature and what becomes of it: the key of a row."""


@dataclass(frozen=True)
class Work:
    """Floating-point operations of the textbook's algorithms, and bytes of weights, input and output, in fp32; both of
    what is needed alone: of a convolution the taps that touch the image (`latency/taps.py`)."""

    flops: int
    traffic_bytes: int


@dataclass(frozen=True)
class Kind:
    """A distinct piece. It is one thing, or several in a row that became one layer."""

    row_keys: tuple[RowKey, ...]
    work: Work

    @property
    def key(self) -> str:
        return key_of(self.row_keys)


def key_of(row_keys: Sequence[RowKey]) -> str:
    """The name of the kind that is made of these."""
    return " + ".join(f"{signature} -> {choice}" for signature, choice in row_keys)


@dataclass(frozen=True)
class Network:
    """A plan's network as the pieces it runs through: keys of kinds."""

    choices: Mapping[str, str]
    keys: tuple[str, ...]
    held_out: bool


@dataclass(frozen=True)
class Study:
    """Everything about a model that a latency table is made from, but for the readings.

    `blocks` counts the places that could be each (signature, choice); `vanishing` choices leave nothing of a block,
    `thinning` ones fewer tokens to all that stands behind.
    """

    model: str
    model_kwargs: Mapping[str, Any]
    fingerprint: str
    batch_size: int
    segments: tuple[Segment, ...]
    vanishing: frozenset[str]
    blocks: Mapping[RowKey, int]
    kinds: Mapping[str, Kind]
    networks: tuple[Network, ...]
    thinning: frozenset[str] = frozenset()

    def counts(self, network: Network) -> tuple[Counter[RowKey], Counter[tuple[RowKey, RowKey]]]:
        """How often each thing stands in a network, and how often one directly follows another in one layer."""
        single: Counter[RowKey] = Counter()
        joined: Counter[tuple[RowKey, RowKey]] = Counter()
        for key in network.keys:
            row_keys = self.kinds[key].row_keys
            single.update(row_keys)
            joined.update(itertools.pairwise(row_keys))
        return single, joined

    def to_record(self) -> dict[str, Any]:
        """For JSON; `from_record` reads it back."""
        return {
            "model": self.model,
            "model_kwargs": dict(self.model_kwargs),
            "fingerprint": self.fingerprint,
            "batch_size": self.batch_size,
            "segments": [dataclasses.asdict(segment) for segment in self.segments],
            "vanishing": sorted(self.vanishing),
            "thinning": sorted(self.thinning),
            "blocks": [[*what, count] for what, count in self.blocks.items()],
            "kinds": [
                {"whats": [list(what) for what in kind.row_keys], **dataclasses.asdict(kind.work)}
                for kind in self.kinds.values()
            ],
            "networks": [
                {"choices": dict(n.choices), "keys": list(n.keys), "held_out": n.held_out} for n in self.networks
            ],
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Study":
        """Raises `KeyError` or `TypeError` for what is no study."""
        kinds = [
            Kind(tuple((what[0], what[1]) for what in kind["whats"]), Work(kind["flops"], kind["traffic_bytes"]))
            for kind in record["kinds"]
        ]
        return cls(
            model=record["model"],
            model_kwargs=record["model_kwargs"],
            fingerprint=record["fingerprint"],
            batch_size=record["batch_size"],
            segments=tuple(Segment(**segment) for segment in record["segments"]),
            vanishing=frozenset(record["vanishing"]),
            blocks={(signature, choice): count for signature, choice, count in record["blocks"]},
            kinds={kind.key: kind for kind in kinds},
            networks=tuple(Network(n["choices"], tuple(n["keys"]), n["held_out"]) for n in record["networks"]),
            thinning=frozenset(record.get("thinning", ())),
        )
