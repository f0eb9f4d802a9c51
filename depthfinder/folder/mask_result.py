"""The result of `sparsify`: the record behind its `result.json`, and the lines on the terminal."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from profiles.files import write_whole
from profiles.measurement import Measurement, Ratio
from profiles.profile import Setting


def is_of_masks(path: Path) -> bool:
    """Returns whether a `result.json` is of `sparsify`, not of `run`."""
    return "granularity" in json.loads(path.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class MeasuredRemoval:
    """The baseline and the network without the removed channels, timed in the same rounds.

    Attributes:
        setting: Where and how they were measured.
        baseline: The latency of the baseline.
        pruned: The latency of the network without the removed channels.
        ratio: The second over the first.
    """

    setting: Setting
    baseline: Measurement
    pruned: Measurement
    ratio: Ratio

    @property
    def verdict(self) -> str:
        """Whether removing channels paid, as a sentence: it did where the whole interval of the ratio is below 1."""
        ratio, device = self.ratio, self.setting.device
        figures = f"{ratio.value:.3f} of the baseline's latency on {device} ({ratio.low:.3f} to {ratio.high:.3f})"
        if ratio.high < 1:
            return f"It paid: the network without these channels takes {figures}."
        if ratio.low > 1:
            return f"It did not pay: the network without these channels takes {figures}, so it is slower."
        return f"It did not pay: the network without these channels takes {figures}, which cannot be told from 1."


@dataclass(frozen=True)
class MaskResult:
    """The accuracy, the size and the latency of a network before and after groups of its weights were removed.

    Attributes:
        model: The name of the architecture.
        sparsity: The share of all groups that were removed.
        epochs: Epochs of the search for the masks and of the training under them.
        accuracy_before: Top-1 of the baseline in [0, 1] on the held-out images.
        accuracy_after: The same with the groups removed.
        layers: Layer -> the share of its groups that were removed, by the name of the weight that they belong to.
        weights_gone: The share of the numbers in these weights that were removed.
        removal: The latency before and after; None where the network keeps its shape.
        verdict: Whether latency was gained, as a sentence.
        seconds: Stage -> the seconds it took.
    """

    model: str
    method: str
    granularity: str
    sparsity: float
    epochs: int
    accuracy_before: float
    accuracy_after: float
    layers: Mapping[str, float]
    weights_gone: float
    parameters_before: int
    parameters_after: int
    removal: MeasuredRemoval | None
    verdict: str
    seconds: Mapping[str, float]

    def save(self, path: Path) -> None:
        """Writes the result to `path` as JSON."""
        write_whole(path, json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "MaskResult":
        """Reads what `save` wrote."""
        record = json.loads(path.read_text(encoding="utf-8"))
        found = record["removal"]
        removal = found and MeasuredRemoval(
            setting=Setting(**found["setting"]),
            baseline=Measurement(**found["baseline"]),
            pruned=Measurement(**found["pruned"]),
            ratio=Ratio(**found["ratio"]),
        )
        return cls(**record | {"removal": removal})

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """The lines of a table, as text: (what, before, after)."""
        rows = [
            ("accuracy, held-out images", f"{self.accuracy_before:.2%}", f"{self.accuracy_after:.2%}"),
            ("parameters", f"{self.parameters_before:,}", f"{self.parameters_after:,}"),
            (f"groups that went ({self.granularity})", "", f"{self.sparsity:.1%}"),
            ("of these layers' weights", "", f"{self.weights_gone:.1%}"),
        ]
        if self.removal is None:
            return rows
        before, after, ratio = self.removal.baseline, self.removal.pruned, self.removal.ratio
        return [
            *rows,
            ("measured latency", f"{before.latency_ms:.3f} ms", f"{after.latency_ms:.3f} ms"),
            ("against the baseline", "1", f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"),
        ]

    @property
    def lines(self) -> list[str]:
        """The result in sentences, for the terminal."""
        gone = f"{self.sparsity:.1%} of all groups ({self.granularity}), {self.weights_gone:.1%} of their weights"
        shares = self.layers.values()
        return [
            f"{self.model}, {self.method}: {gone}; by layer {min(shares):.0%} to {max(shares):.0%}",
            f"accuracy on held-out images: {self.accuracy_before:.2%} before, {self.accuracy_after:.2%} after",
            f"parameters: {self.parameters_before:,} before, {self.parameters_after:,} after",
            self.verdict,
        ]
