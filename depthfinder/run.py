"""One run: what was asked for, and what every stage needs of it."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from depthfinder.arguments import RunArguments
from depthfinder.console import Watch, log
from depthfinder.run_folder import RunFolder
from latency.device import Device
from latency.devices import known_device, open_device
from profiles.profile import Profile, Setting
from profiles.store import all_profiles, check_usable, load_profile
from pruner.chain import Chain
from pruner.checkpoint import CheckpointFile
from pruner.data.digits import DigitScenes
from pruner.data.folder import class_names, image_folder
from pruner.data.images import ImageData
from pruner.errors import DataError
from pruner.models import load_model
from pruner.plan import Plan
from pruner.surgery import describe
from pruner.training import TrainSettings, load_network
from search.budget import Budget

DATASETS: Final = ("digits", "folder")


@dataclass(frozen=True)
class Run:
    """What every stage needs: the arguments, the folder, and what both lead to, made when first asked for."""

    arguments: RunArguments
    folder: RunFolder
    profiles_root: Path
    watch: Watch
    storage: str | None = None
    """The study's storage as it was typed, with its password if it has one; the arguments have none."""
    table: str = "profile.json"
    """The file in the folder that holds the latency table."""

    @cached_property
    def device(self) -> Device[Any]:
        return open_device(self.arguments.device, self.arguments.mode)

    @cached_property
    def model(self) -> nn.Module:
        return build_model(self.arguments)

    @cached_property
    def chain(self) -> Chain:
        return describe(self.model)

    @cached_property
    def data(self) -> ImageData:
        return build_data(self.arguments, self.model, self.chain)

    @cached_property
    def profile(self) -> Profile:
        return load_profile(self.folder[self.table])

    @cached_property
    def plan(self) -> Plan:
        return Plan.from_json(self.folder["plan.json"].read_text())

    @property
    def budget(self) -> Budget:
        if self.arguments.budget_ratio is not None:
            return Budget.relative(self.arguments.budget_ratio, self.profile)
        budgets = self.arguments.budgets_ms
        assert budgets, "a run has a budget"
        return Budget(budgets[self.arguments.device])

    @cached_property
    def others(self) -> tuple["Run", ...]:
        """The same run as the other devices see it that have a budget too."""
        asked = self.arguments
        others = [(device, ms) for device, ms in asked.budgets_ms.items() if device != asked.device]
        return tuple(
            dataclasses.replace(
                self,
                arguments=dataclasses.replace(asked, device=device, budget_ms=repr(ms), profile=None),
                table=f"profile-{device}.json",
            )
            for device, ms in others
        )

    @property
    def device_is_here(self) -> bool:
        return known_device(self.arguments.device).absence() is None

    @cached_property
    def named_table(self) -> Profile | None:
        """The table that was asked for by its file. Raises `ProfileError` when it is of another network or setting."""
        asked = self.arguments
        if asked.profile is None:
            return None
        found = load_profile(asked.profile)
        if self.device_is_here:
            setting = self.device.setting(asked.batch_size)
        else:
            there, mode = found.setting, asked.mode
            where = (asked.device, there.hardware, there.runtime, mode.dtype, asked.batch_size, mode.threads)
            setting = Setting(*where, mode.channels_last, mode.compiled)
        for warning in check_usable(Path(asked.profile), found, self.chain.fingerprint, setting):
            log.warning("%s", warning)
        return found

    @cached_property
    def table_from_elsewhere(self) -> tuple[Path, Profile] | None:
        """The newest table of this network in this mode on a device that is not here: imported, or modelled."""
        asked, mode = self.arguments, self.arguments.mode
        return max(
            (
                (path, profile)
                for path, profile in all_profiles(self.profiles_root)
                if profile.fingerprint == self.chain.fingerprint
                and (profile.setting.device, profile.setting.batch_size) == (asked.device, asked.batch_size)
                and profile.setting.mode_fields == (mode.threads, mode.dtype, mode.channels_last, mode.compiled)
            ),
            key=lambda pair: pair[1].created,
            default=None,
        )

    def check(self) -> None:
        """Finds out before any work whether device, model and data are here; raises the error of what is not."""
        _ = self.device, self.chain, self.data, self.named_table
        self._check_others()

    def check_for_search(self) -> None:
        """The same, but a table made elsewhere will do for a device."""
        if self.device_is_here or (self.named_table or self.table_from_elsewhere) is None:
            _ = self.device
        _ = self.data, self.named_table
        self._check_others()

    def _check_others(self) -> None:
        for other in self.others:
            if other.device_is_here or other.table_from_elsewhere is None:
                _ = other.device

    def checkpoint(self, stage: str, settings: TrainSettings) -> CheckpointFile:
        identity = f"{stage} of {self.chain.model} {self.chain.fingerprint} on {self.data.name}, {settings}"
        self.folder["checkpoints"].mkdir(exist_ok=True)
        return CheckpointFile(self.folder.checkpoint(stage), identity)

    def train_settings(self, epochs: int) -> TrainSettings:
        asked = self.arguments
        return TrainSettings(epochs, batch_size=asked.train_batch_size, learning_rate=asked.lr, seed=asked.seed)


Stage = Callable[[Run], None]


def build_model(arguments: RunArguments) -> nn.Module:
    """The baseline. Without weights to load it is drawn at random, from the run's seed."""
    kwargs: dict[str, Any] = dict(arguments.model_kwargs)
    if arguments.dataset == "folder" and arguments.data_dir is not None:
        kwargs.setdefault("num_classes", len(class_names(Path(arguments.data_dir))))
    torch.manual_seed(arguments.seed)
    checkpoint = Path(arguments.checkpoint) if arguments.checkpoint else None
    return load_model(arguments.model, pretrained=arguments.pretrained, checkpoint=checkpoint, **kwargs)


def build_data(arguments: RunArguments, model: nn.Module, chain: Chain) -> ImageData:
    """Raises `DataError` when there is no data, or none that fits the model."""
    if arguments.dataset == "folder":
        if arguments.data_dir is None:
            raise DataError(
                f"no images to judge {arguments.model} by: name an ImageFolder with --data-dir FOLDER "
                "(FOLDER/train/CLASS/..., FOLDER/val/CLASS/...)"
            )
        return image_folder(Path(arguments.data_dir), model, chain.input_size)
    if arguments.dataset != "digits":
        raise DataError(f"no data set is called {arguments.dataset!r}; there are: {', '.join(DATASETS)}")
    digits = DigitScenes()
    if digits.input_size != chain.input_size:
        raise DataError(f"digits are images of {digits.input_size}, {arguments.model} takes {chain.input_size}")
    return digits


def load_trained(network: nn.Module, run: Run, stage: str, settings: TrainSettings) -> None:
    """Puts the weights into `network` that a stage's training ended with."""
    checkpoint = run.checkpoint(stage, settings).load()
    assert checkpoint is not None, "a training stage that is done leaves a checkpoint"
    load_network(network, checkpoint)
    network.eval()
