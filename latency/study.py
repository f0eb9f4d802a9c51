"""Plain data on what is to be measured of a model: its distinct pieces and a few whole networks."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from profiles.profile import Segment
from pruner.algebra.flow import Wire, row

REFERENCE: Final = "reference"
"""The name under which the matrix product is timed that gauges the device's speed."""
TRAFFIC: Final = "traffic"
"""The name under which the program is timed that gauges the device's memory bandwidth."""

RowKey = tuple[str, str]
"""(signature, choice), the key of a row in a latency table. Behind a block that thins the tokens the choice is written
as, for example, `keep, thinned`."""


@dataclass(frozen=True)
class Work:
    """The work of a piece of a network.

    Both figures count only what is needed: in a convolution, the taps that touch the image (`latency/taps.py`).

    Attributes:
        flops: Floating-point operations of the textbook algorithm, a multiplication and an addition being two.
        traffic_bytes: Bytes of the weights, the input and the output, in fp32.
    """

    flops: int
    traffic_bytes: int


@dataclass(frozen=True)
class Kind:
    """A distinct piece of a model: one row of the latency table, or several merged layers in a row that became one.

    Attributes:
        row_keys: The rows that the piece stands for, in running order.
        work: The work of the piece.
    """

    row_keys: tuple[RowKey, ...]
    work: Work

    @property
    def key(self) -> str:
        """The name under which the piece is compiled and timed."""
        return key_of(self.row_keys)


def key_of(row_keys: Sequence[RowKey]) -> str:
    """Returns the name of the kind of piece that stands for these rows, such as `SIGNATURE -> merge`."""
    return " + ".join(f"{signature} -> {choice}" for signature, choice in row_keys)


@dataclass(frozen=True)
class Network:
    """The whole network of a plan, as the pieces that it runs through.

    Attributes:
        choices: Block -> choice, for the blocks that are not kept.
        keys: The keys of the kinds of piece, in running order.
        wires: How each of these pieces is connected with the others.
        held_out: Whether the network judges the fit and takes no part in it.
    """

    choices: Mapping[str, str]
    keys: tuple[str, ...]
    wires: tuple[Wire, ...]
    held_out: bool


@dataclass(frozen=True)
class Study:
    """Everything about a model that its latency table is made from, except the readings.

    Attributes:
        model: The model's name.
        model_kwargs: The arguments that the model was built with.
        fingerprint: The fingerprint of the model's chain.
        batch_size: Images per run.
        segments: The blocks, and what stands before, between and after them, in running order.
        vanishing: The choices that leave nothing of a block to run.
        blocks: (signature, choice) -> the number of places in the network that could be this.
        kinds: Key -> the kind of piece.
        networks: The whole networks to measure.
        thinning: The choices that leave fewer tokens to everything behind the block.
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
        """Counts the rows of a network.

        Returns:
            How often each row stands in the network, and how often one row directly follows another in a layer that
            both became.
        """
        single: Counter[RowKey] = Counter()
        joined: Counter[tuple[RowKey, RowKey]] = Counter()
        for key in network.keys:
            row_keys = self.kinds[key].row_keys
            single.update(row_keys)
            joined.update(itertools.pairwise(row_keys))
        return single, joined

    def to_record(self) -> dict[str, Any]:
        """Returns the study as plain data for JSON; `from_record` reads it."""
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
                {
                    "choices": dict(n.choices),
                    "keys": list(n.keys),
                    "wires": [dataclasses.astuple(wire) for wire in n.wires],
                    "held_out": n.held_out,
                }
                for n in self.networks
            ],
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Study":
        """Reads what `to_record` returned.

        Raises:
            KeyError: when an entry is missing.
            TypeError: when an entry is of another type.
        """
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
            networks=tuple(
                Network(n["choices"], tuple(n["keys"]), _wires(n), n["held_out"]) for n in record["networks"]
            ),
            thinning=frozenset(record.get("thinning", ())),
        )


def _wires(network: Mapping[str, Any]) -> tuple[Wire, ...]:
    """The wires of a network's record. A record without them is of a network whose pieces run in a row."""
    if "wires" not in network:
        return tuple(row(len(network["keys"])))
    return tuple(Wire(*map(tuple, numbers)) for numbers in network["wires"])
