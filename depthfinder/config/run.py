"""All that a run was asked for: written to `args.yaml`, from which it can be typed again."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from depthfinder.config.data import DataConfig
from depthfinder.config.files import read_settings, write_settings
from depthfinder.config.masks import MaskConfig
from depthfinder.config.measure import MeasureConfig
from depthfinder.config.model import ModelConfig
from depthfinder.config.search import SearchConfig
from depthfinder.config.train import TrainConfig
from profiles.names import as_file_name
from profiles.option import CHECKED, Option


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Seeded:
    """What draws at random."""

    PANEL: ClassVar = "Output"

    seed: Annotated[int, Option("Decides everything that is drawn at random."), Field(ge=0)] = 0


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class RunConfig(Seeded):
    """Everything that decides what a run finds; two runs of equal settings find the same plan on the same table."""

    network: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    measure: MeasureConfig = MeasureConfig()
    search: SearchConfig = SearchConfig()
    train: TrainConfig = TrainConfig()

    @property
    def default_experiment(self) -> str:
        """A folder name that tells runs of different budgets apart."""
        measure, budgets = self.measure, self.measure.budgets_ms
        if measure.budget_ratio is not None:
            budget = f"x{measure.budget_ratio:g}"
        elif len(budgets) == 1:
            budget = f"{budgets[measure.device]:g}ms"
        else:
            budget = "-".join(f"{device}-{ms:g}ms" for device, ms in budgets.items()) or "front"
        return as_file_name(f"{self.network.model}-{measure.device}-{budget}-s{self.seed}")

    @classmethod
    def load(cls, path: Path) -> "RunConfig":
        """What a folder's `args.yaml` says.

        Raises:
            FileNotFoundError: when there is no such file.
            SettingsError: for what it does not name, or names wrongly.
        """
        return read_settings(cls, path)

    def save(self, path: Path) -> None:
        """Writes all settings by their names."""
        write_settings(self, path)


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class SparsifyConfig(RunConfig):
    """Everything that decides which groups of weights go. There is no budget and no search for blocks."""

    search: SearchConfig = SearchConfig(widths="none")
    masks: MaskConfig = MaskConfig()

    @property
    def default_experiment(self) -> str:
        """A folder name that tells methods, granularities, sparsities and seeds apart."""
        masks = self.masks
        share = "" if masks.sparsity is None else f"-{masks.sparsity:g}"
        granularity = masks.granularity.replace(":", "of")
        return as_file_name(f"{self.network.model}-{masks.method}-{granularity}{share}-s{self.seed}")
