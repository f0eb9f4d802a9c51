"""The result of a run: the record behind `result.json`, the table on the terminal and the report."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from profiles.files import write_whole
from profiles.measurement import Measurement, Ratio
from profiles.profile import Setting
from pruner.choices.choice import CHOICES, DROP, KEEP, MERGE
from search.verification.budget import Verdict

_ANSWERS: Final = {"met": "met", "not met": "NOT met", "undecided": "UNDECIDED"}
_ALWAYS_COUNTED: Final = (KEEP, MERGE, DROP)


@dataclass(frozen=True)
class NetworkResult:
    """The accuracy, latency and size of one network.

    Attributes:
        accuracy: Top-1 in [0, 1] on the held-out images.
        latency: The measured latency; None where the device was not here, so that nothing was measured.
        predicted_ms: The latency by the table, in milliseconds.
        predicted_interval_ms: (low, high) of the prediction, in milliseconds.
        parameters: How many parameters the network has.
        blocks: Choice -> how many blocks have it.
    """

    accuracy: float
    latency: Measurement | None
    predicted_ms: float
    predicted_interval_ms: tuple[float, float]
    parameters: int
    blocks: Mapping[str, int]


@dataclass(frozen=True)
class RunResult:
    """The baseline and the pruned network side by side, timed in the same rounds.

    Where the device was not here, the result goes by the table alone: nothing is measured, and the verdict is
    undecided.

    Attributes:
        model: The name of the architecture.
        setting: Where and how the networks were measured.
        budget_ms: The latency that the pruned network may have, in milliseconds.
        budget_ratio: The same as a share of the baseline's; None where the budget was given in milliseconds.
        verdict: Whether the budget is met.
        measured_ratio: Pruned to baseline latency by the wall clock; None where nothing was measured.
        processor_ratio: The same by time on the processor; None where that says nothing about latency.
        slowdown: The time that the machine's reference took, over what it took when the table was made.
        accuracy_without_training: The accuracy of the same plan on the baseline's weights, with BatchNorm statistics
            estimated but nothing learned. It shows what the training was needed for.
        parity: How ONNX Runtime's logits compare with PyTorch's.
        plan: Block -> choice, for every block that is cut.
        num_evaluations: How many plans the search evaluated.
        seconds: Stage -> the seconds it took, for the stages before the measurement.
        table: Where the latency table is from, in words.
        labelled: Whether the images have labels. Without them, the answers of the uncut network count as right.

    Example:
        `df.run` returns such a result. This one is of a device that was not here:

        >>> from depthfinder.folder.result import NetworkResult, RunResult
        >>> from profiles.profile import Setting
        >>> from search.verification.budget import Verdict
        >>> result = RunResult(
        ...     model="deit_digits",
        ...     setting=Setting("mi100", "AMD Instinct MI100", "pytorch 2.5", "fp16", batch_size=1, threads=1),
        ...     budget_ms=2.5,
        ...     budget_ratio=None,
        ...     verdict=Verdict("undecided", "nothing was measured on mi100"),
        ...     measured_ratio=None,
        ...     processor_ratio=None,
        ...     slowdown=None,
        ...     baseline=NetworkResult(0.97, None, 4.0, (3.9, 4.1), 280_000, {"keep": 24}),
        ...     pruned=NetworkResult(0.96, None, 2.4, (2.3, 2.5), 170_000, {"keep": 14, "drop": 10}),
        ...     accuracy_without_training=0.91,
        ...     parity={"images": 16, "largest_difference": 1e-6, "same_top1": 16},
        ...     plan={f"blocks.{i}.mlp": "drop" for i in range(10)},
        ...     num_evaluations=128,
        ...     seconds={"search": 20.5, "train": 61.0},
        ... )
        >>> result.ratio, result.budget_text, result.verdict.answer
        (0.6, '2.5 ms', 'undecided')
    """

    model: str
    setting: Setting
    budget_ms: float
    budget_ratio: float | None
    verdict: Verdict
    measured_ratio: Ratio | None
    processor_ratio: Ratio | None
    slowdown: float | None
    baseline: NetworkResult
    pruned: NetworkResult
    accuracy_without_training: float
    parity: Mapping[str, Any]
    plan: Mapping[str, str]
    num_evaluations: int
    seconds: Mapping[str, float]
    table: str = ""
    labelled: bool = True

    def save(self, path: Path) -> None:
        """Writes the result to `path` as JSON."""
        record = dataclasses.asdict(self)
        for name, network in (("baseline", self.baseline), ("pruned", self.pruned)):
            record[name]["latency"] = network.latency and network.latency.record()
        write_whole(path, json.dumps(record, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "RunResult":
        """Reads what `save` wrote."""
        record = json.loads(path.read_text(encoding="utf-8"))
        networks = {
            name: NetworkResult(
                **record[name]
                | {
                    "latency": record[name]["latency"] and Measurement.of_record(record[name]["latency"]),
                    "predicted_interval_ms": tuple(record[name]["predicted_interval_ms"]),
                }
            )
            for name in ("baseline", "pruned")
        }
        ratios = {name: record[name] and Ratio(**record[name]) for name in ("measured_ratio", "processor_ratio")}
        parts = {"setting": Setting(**record["setting"]), "verdict": Verdict(**record["verdict"])} | ratios
        return cls(**record | networks | parts)

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """The lines of a table, as text: (what, the baseline's figure, the pruned network's figure)."""
        choices = [one for one in CHOICES if one in _ALWAYS_COUNTED or self.pruned.blocks.get(one)]
        counted = " / ".join(CHOICES[choice].label for choice in choices)
        return [
            self._row(self.accuracy_text, lambda n: f"{n.accuracy:.2%}"),
            self._row("measured latency", lambda n: f"{n.latency.latency_ms:.3f} ms" if n.latency else "not measured"),
            *self._readings,
            self._row("predicted latency", lambda n: f"{n.predicted_ms:.3f} ms"),
            self._row("parameters", lambda n: f"{n.parameters:,}"),
            self._row(f"blocks {counted}", lambda n: " / ".join(str(n.blocks.get(choice, 0)) for choice in choices)),
            ("the same plan without training", "", f"{self.accuracy_without_training:.2%}"),
            *self._ratios,
            ("budget", "", f"{self.budget_text}: {_ANSWERS[self.verdict.answer]}"),
            ("because", "", self.verdict.reason),
        ]

    @property
    def accuracy_text(self) -> str:
        """The heading of the accuracies: of labels, or of agreement with the uncut network."""
        return "accuracy, held-out images" if self.labelled else "answers as the uncut network's, held-out images"

    @property
    def _readings(self) -> list[tuple[str, str, str]]:
        """The spread and the quality of the measured latencies; empty where none was measured."""
        if self.measured_ratio is None:
            return []
        both = [network.latency for network in (self.baseline, self.pruned) if network.latency is not None]
        spreads, qualities = [f"{one.p10_ms:.3f} to {one.p90_ms:.3f} ms" for one in both], [one.quality for one in both]
        return [("10th to 90th percentile", *_pair(spreads)), ("readings", *_pair(qualities))]

    @property
    def _ratios(self) -> list[tuple[str, str, str]]:
        if self.measured_ratio is None:
            return [("by the table against the baseline", "1", f"{self.ratio:.3f}")]
        found = [("measured against the baseline", "1", _ratio_text(self.measured_ratio))]
        if self.processor_ratio is not None:
            found.append(("the same by time on the processor", "1", _ratio_text(self.processor_ratio)))
        return found

    @property
    def ratio(self) -> float:
        """The pruned network's latency over the baseline's: as measured, else by the table."""
        if self.measured_ratio is not None:
            return self.measured_ratio.value
        return self.pruned.predicted_ms / self.baseline.predicted_ms

    @property
    def budget_text(self) -> str:
        """The budget with its unit."""
        if self.budget_ratio is not None:
            return f"{self.budget_ratio:g} of the baseline"
        return f"{self.budget_ms:g} ms"

    def _row(self, what: str, text: Callable[[NetworkResult], str]) -> tuple[str, str, str]:
        return what, text(self.baseline), text(self.pruned)


def _pair(cells: Sequence[str]) -> tuple[str, str]:
    baseline, pruned = cells
    return baseline, pruned


def _ratio_text(ratio: Ratio) -> str:
    return f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"
