"""All settings of a run. They are written to `args.yaml`, by which the run can be repeated."""

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
    """The seed of all that is drawn at random."""

    PANEL: ClassVar = "Output"

    seed: Annotated[int, Option("Decides everything that is drawn at random."), Field(ge=0)] = 0


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class RunConfig(Seeded):
    """Everything that decides what a run finds; two runs of equal settings find the same plan on the same table.

    Example:
        >>> RunConfig().default_experiment
        'deit_digits-ort-cpu-front-s0'
    """

    network: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    measure: MeasureConfig = MeasureConfig()
    search: SearchConfig = SearchConfig()
    train: TrainConfig = TrainConfig()

    @property
    def default_experiment(self) -> str:
        """The default name of the run's folder: of the model, the device, the budget and the seed."""
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
        """Reads the settings from an `args.yaml`.

        Raises:
            FileNotFoundError: when there is no such file.
            SettingsError: for an unknown setting, or a value that is refused.
        """
        return read_settings(cls, path)

    def save(self, path: Path) -> None:
        """Writes all settings to `path`, by their names."""
        write_settings(self, path)


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class SparsifyConfig(RunConfig):
    """Everything that decides which groups of weights `sparsify` removes. No search for a plan takes place."""

    search: SearchConfig = SearchConfig(widths="none")
    masks: MaskConfig = MaskConfig()

    @property
    def default_experiment(self) -> str:
        """The default name of the folder: of the model, the method, the granularity, the sparsity and the seed."""
        masks = self.masks
        share = "" if masks.sparsity is None else f"-{masks.sparsity:g}"
        granularity = masks.granularity.replace(":", "of")
        return as_file_name(f"{self.network.model}-{masks.method}-{granularity}{share}-s{self.seed}")
