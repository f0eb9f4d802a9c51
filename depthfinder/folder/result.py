"""What a run comes to: the record behind `result.json`, the table on the terminal and the report."""

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
    """One network: accuracy in [0, 1] on the held-out images, and latency as measured and as predicted; `latency` is
    None where the device was not here, so that nothing was measured on it."""

    accuracy: float
    latency: Measurement | None
    predicted_ms: float
    predicted_interval_ms: tuple[float, float]
    parameters: int
    blocks: Mapping[str, int]


@dataclass(frozen=True)
class RunResult:
    """Baseline and pruned network side by side, timed in the same rounds; or by the table alone, where the device was
    not here: then nothing is measured, and the verdict is undecided. `table` says where the table is from. Where images
    are not `labelled`, right is what the uncut network answers.

    `accuracy_without_training` is that of the same plan on the baseline's weights, with BatchNorm statistics estimated
    but nothing learned: what the training was needed for. `measured_ratio` is by the wall clock, `processor_ratio` by
    time on the processor where that is a witness. `slowdown` is what the machine's reference took, over what it took
    when the table was made. `seconds` are those of the stages before the measurement.
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
        record = dataclasses.asdict(self)
        for name, network in (("baseline", self.baseline), ("pruned", self.pruned)):
            record[name]["latency"] = network.latency and network.latency.record()
        write_whole(path, json.dumps(record, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "RunResult":
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
        """(what, baseline's, pruned network's), as text for a table."""
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
        """What accuracies are of."""
        return "accuracy, held-out images" if self.labelled else "answers as the uncut network's, held-out images"

    @property
    def _readings(self) -> list[tuple[str, str, str]]:
        """How the measured latencies came about; nothing where none was measured."""
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
        """Of the pruned network's latency to the baseline's: as measured, else by the table."""
        if self.measured_ratio is not None:
            return self.measured_ratio.value
        return self.pruned.predicted_ms / self.baseline.predicted_ms

    @property
    def budget_text(self) -> str:
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
