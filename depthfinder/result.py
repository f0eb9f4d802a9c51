"""What a run comes to: the record behind `result.json`, the table on the terminal and the report."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from profiles.files import write_whole
from profiles.measurement import Measurement, Ratio
from profiles.profile import Setting
from search.verdict import Verdict

_WORDS: Final = {
    "keep": "kept",
    "merge": "merged",
    "separable": "separable",
    "shrink": "shrunk",
    "merge-act": "merged with activation",
    "narrow": "narrowed",
    "thin": "thinned behind",
    "drop": "dropped",
}
_ANSWERS: Final = {"met": "met", "not met": "NOT met", "undecided": "UNDECIDED"}
_ALWAYS_COUNTED: Final = ("keep", "merge", "drop")


@dataclass(frozen=True)
class NetworkResult:
    """One network: accuracy in [0, 1] on the held-out images, and latency as measured and as predicted."""

    accuracy: float
    latency: Measurement
    predicted_ms: float
    predicted_interval_ms: tuple[float, float]
    parameters: int
    blocks: Mapping[str, int]


@dataclass(frozen=True)
class RunResult:
    """Baseline and pruned network side by side, timed in the same rounds.

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
    measured_ratio: Ratio
    processor_ratio: Ratio | None
    slowdown: float | None
    baseline: NetworkResult
    pruned: NetworkResult
    accuracy_without_training: float
    parity: Mapping[str, Any]
    plan: Mapping[str, str]
    num_evaluations: int
    seconds: Mapping[str, float]

    def save(self, path: Path) -> None:
        record = dataclasses.asdict(self)
        for name, network in (("baseline", self.baseline), ("pruned", self.pruned)):
            record[name]["latency"] = network.latency.record()
        write_whole(path, json.dumps(record, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "RunResult":
        record = json.loads(path.read_text(encoding="utf-8"))
        networks = {
            name: NetworkResult(
                **record[name]
                | {
                    "latency": Measurement.of_record(record[name]["latency"]),
                    "predicted_interval_ms": tuple(record[name]["predicted_interval_ms"]),
                }
            )
            for name in ("baseline", "pruned")
        }
        processor = record["processor_ratio"]
        parts = {
            "setting": Setting(**record["setting"]),
            "verdict": Verdict(**record["verdict"]),
            "measured_ratio": Ratio(**record["measured_ratio"]),
            "processor_ratio": None if processor is None else Ratio(**processor),
        }
        return cls(**record | networks | parts)

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """(what, baseline's, pruned network's), as text for a table."""
        choices = [one for one in _WORDS if one in _ALWAYS_COUNTED or self.pruned.blocks.get(one)]
        counted = " / ".join(_WORDS[choice] for choice in choices)
        return [
            self._row("accuracy, held-out images", lambda n: f"{n.accuracy:.2%}"),
            self._row("measured latency, lower quartile", lambda n: f"{n.latency.latency_ms:.3f} ms"),
            self._row("its readings", lambda n: n.latency.quality),
            self._row("10th to 90th percentile", lambda n: f"{n.latency.p10_ms:.3f} to {n.latency.p90_ms:.3f} ms"),
            self._row("predicted latency", lambda n: f"{n.predicted_ms:.3f} ms"),
            self._row("parameters", lambda n: f"{n.parameters:,}"),
            self._row(f"blocks {counted}", lambda n: " / ".join(str(n.blocks.get(choice, 0)) for choice in choices)),
            ("the same plan without training", "", f"{self.accuracy_without_training:.2%}"),
            ("measured against the baseline", "1", _ratio_text(self.measured_ratio)),
            *self._by_processor,
            ("budget", "", f"{self.budget_text}: {_ANSWERS[self.verdict.answer]}"),
            ("because", "", self.verdict.reason),
        ]

    @property
    def _by_processor(self) -> list[tuple[str, str, str]]:
        ratio = self.processor_ratio
        return [] if ratio is None else [("the same by time on the processor", "1", _ratio_text(ratio))]

    @property
    def budget_text(self) -> str:
        if self.budget_ratio is not None:
            return f"{self.budget_ratio:g} of the baseline"
        return f"{self.budget_ms:g} ms"

    def _row(self, what: str, text: Callable[[NetworkResult], str]) -> tuple[str, str, str]:
        return what, text(self.baseline), text(self.pruned)


def _ratio_text(ratio: Ratio) -> str:
    return f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"
