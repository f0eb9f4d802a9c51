"""One run: what was asked for, and what every stage needs of it."""

import copy
import dataclasses
import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from depthfinder.config.declared import with_changes
from depthfinder.config.model import ModelConfig
from depthfinder.config.run import RunConfig
from depthfinder.console import Watch, log
from depthfinder.folder.run_folder import RunFolder
from depthfinder.pipeline.absent_device import FoundTable, table_without_device
from depthfinder.pipeline.datasets import BAD_IMAGES, build_data, described_images, find_catalogue
from depthfinder.pipeline.dependencies import as_text, trainings_depend_on
from latency.device import Device
from latency.devices import known_device, open_device
from latency.own_head import can_change_head
from profiles.errors import ProfileError
from profiles.fingerprint import differ_in_head_alone
from profiles.names import as_file_name
from profiles.profile import Profile, Setting
from profiles.store import check_usable, load_profile
from pruner.choices.chain import Chain
from pruner.choices.choice import FITS, SHARES
from pruner.choices.plan import Plan
from pruner.data.catalogue import Catalogue
from pruner.data.images import ImageData
from pruner.models.checkpoint import CheckpointFile
from pruner.models.load import load_model_and_source
from pruner.models.trained_on import TrainedOn
from pruner.models.weights_fit import LoadedWeights
from pruner.network.surgery import describe
from pruner.training.settings import TrainSettings
from pruner.training.state import load_network
from pruner.training.world import World, alone
from search.verification.budget import Budget

# The plan's own training has another name than its stage.
_TRAINED_BY: Final = {"progressive": "train"}


@dataclass(frozen=True)
class Run:
    """What every stage needs: the settings, the folder, and what both lead to, made when first asked for."""

    config: RunConfig
    folder: RunFolder
    profiles_root: Path
    watch: Watch
    storage: str | None = None
    """The study's storage as it was typed, with its password if it has one; the settings have none."""
    table: str = "profile.json"
    """The file in the folder that holds the latency table."""
    world: World = field(default_factory=alone)
    """The processes that train together, and the device that they train on."""

    @cached_property
    def device(self) -> Device[Any]:
        return open_device(self.config.measure.device, self.config.measure.mode)

    @cached_property
    def _came_with(self) -> tuple[nn.Module, LoadedWeights | None]:
        classes = None if self.catalogue is None else self.catalogue.num_classes
        return build_model(self.config.network, classes, self.config.seed)

    @property
    def untuned(self) -> nn.Module:
        """The network as it was asked for, with the weights that it came with."""
        return self._came_with[0]

    @cached_property
    def model(self) -> nn.Module:
        """The uncut network; after its own training, where one was asked for."""
        epochs = self.config.train.finetune_epochs
        if not epochs:
            return self.untuned
        assert self.folder.is_done("finetune"), "who asks for weights before they are trained may have the structure"
        network = copy.deepcopy(self.untuned)
        load_trained(network, self, "finetune", self.train_settings(epochs))
        return network

    @cached_property
    def weights_digest(self) -> str:
        """Of the names, shapes and bits of the weights that the network came with."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.untuned.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:12]

    @property
    def made_with(self) -> dict[str, Any]:
        """The arguments that the network is made with, wherever they are from: the number of classes is the data's."""
        return made_with(self.config.network, None if self.catalogue is None else self.catalogue.num_classes)

    @property
    def extra_choices(self) -> tuple[str, ...]:
        """What is offered although it is on request; what was not named, as far as the tables have rows for it."""
        asked, tables = self.config.search.extra_choices, self.tables
        if self.config.search.named_choices is not None:
            return asked
        return tuple(c for c in asked if all(table.has_row(*row) for table in tables for row in self.rows_of([c])))

    @property
    def tables(self) -> list[Profile]:
        """The latency tables of all devices, as far as there are any yet."""
        return [one.profile for one in (self, *self.others) if one.folder[one.table].exists()]

    def rows_of(self, choices: Collection[str]) -> set[tuple[str, str]]:
        """The rows that a table has for such cuts: (signature, choice)."""
        return {(block.signature, c) for block in self._asked_chain.blocks for c in block.choices if c in choices}

    @property
    def required(self) -> set[tuple[str, str]]:
        """The rows that a table cannot be without: those of choices that were named, and of layers that are fitted."""
        asked = self.config.search
        return self.rows_of(asked.named_choices or (FITS if asked.by_fits else ()))

    @property
    def requested(self) -> tuple[str, ...]:
        """The choices that are offered because they were named, or plans are scored by them: they are in the name of a
        table's file."""
        found = {choice for block in self._asked_chain.blocks for choice in block.requested}
        return tuple(sorted(found if self.config.search.named_choices is not None else found - SHARES.keys()))

    @property
    def chain(self) -> Chain:
        """The blocks with what they offer, as far as the tables have rows for it."""
        asked, extra_choices = self.config.search.extra_choices, self.extra_choices
        return self._asked_chain.taking_back([choice for choice in asked if choice not in extra_choices])

    @cached_property
    def _asked_chain(self) -> Chain:
        return describe(self.untuned, self.config.search.extra_choices)

    @cached_property
    def data(self) -> ImageData:
        bad_images = self.folder[BAD_IMAGES]
        if not self.config.data.skip_bad_images:
            return self._images_found(bad_images)
        # The first process reads all images and writes down the bad ones; the others go by what it wrote.
        if not self.world.is_main:
            self.world.broadcast(0)
        with self.watch.stage("reading all images"):
            data = self._images_found(bad_images)
        if self.world.is_main:
            self.world.broadcast(0)
        return data

    def _images_found(self, bad_images: Path) -> ImageData:
        return build_data(self.config.data, self.catalogue, self.untuned, self.chain, bad_images, self.watch)

    @cached_property
    def images(self) -> TrainedOn:
        """What is known of the images that networks are trained and judged on here."""
        return described_images(self.config.data, self.catalogue, self.untuned, self.chain)

    @cached_property
    def weights_from(self) -> LoadedWeights | None:
        """Which weights the network came with; None for those drawn at random."""
        return self._came_with[1]

    @cached_property
    def catalogue(self) -> Catalogue | None:
        """The data set as it was found; None for one that needs no place, or has none."""
        return find_catalogue(self.config.data)

    @cached_property
    def profile(self) -> Profile:
        return load_profile(self.folder[self.table])

    @cached_property
    def plan(self) -> Plan:
        return Plan.from_json(self.folder["plan.json"].read_text())

    @property
    def budget(self) -> Budget:
        if self.config.measure.budget_ratio is not None:
            return Budget.relative(self.config.measure.budget_ratio, self.profile)
        budgets = self.config.measure.budgets_ms
        assert budgets, "a run has a budget"
        return Budget(budgets[self.config.measure.device])

    @cached_property
    def others(self) -> tuple["Run", ...]:
        """The same run as the other devices see it that have a budget too."""
        asked = self.config
        others = [(device, ms) for device, ms in asked.measure.budgets_ms.items() if device != asked.measure.device]
        return tuple(
            dataclasses.replace(
                self,
                config=with_changes(asked, device=device, budget_ms=repr(ms), profile=None),
                table=f"profile-{as_file_name(device)}.json",
            )
            for device, ms in others
        )

    @property
    def device_is_here(self) -> bool:
        return known_device(self.config.measure.device).absence() is None

    @cached_property
    def named_table(self) -> Profile | None:
        """The table that was asked for by its file. Raises `ProfileError` when it is of another network or setting."""
        asked = self.config.measure
        if asked.profile is None:
            return None
        found = load_profile(asked.profile)
        if self.device_is_here:
            setting = self.device.setting(asked.batch_size)
        else:
            there, mode = found.setting, asked.mode
            where = (
                asked.device,
                there.hardware,
                there.runtime,
                mode.dtype,
                asked.batch_size,
                mode.threads,
            )
            setting = Setting(*where, mode.channels_last, mode.compiled)
        here = self.chain.fingerprint
        if self.device_is_here and differ_in_head_alone(found.fingerprint, here) and can_change_head(found):
            here = found.fingerprint  # the head will be measured
        for warning in check_usable(Path(asked.profile), found, here, setting):
            log.warning("%s", warning)
        lacking = sorted({choice for row, choice in self.required if not found.has_row(row, choice)})
        if lacking:
            raise ProfileError(
                f"{asked.profile} has no rows for {', '.join(lacking)}: profile again, or leave them out"
            )
        return found

    @cached_property
    def table_from_elsewhere(self) -> FoundTable:
        """The table to go by where the device is not here. Raises `DeviceMissingError` where none can be had."""
        asked = self.config
        wanted = self.rows_of(asked.search.extra_choices)
        return table_without_device(
            asked, self.profiles_root, self.untuned, self.chain, self.required, wanted, self.watch
        )

    def checkpoint(self, stage: str, settings: TrainSettings) -> CheckpointFile:
        asked = as_text(trainings_depend_on(_TRAINED_BY.get(stage, stage), self.config))
        asked |= {"weights": self.weights_digest}
        if stage in _TRAINED_BY:
            asked |= {"plan": self.plan.to_json()}
        about = hashlib.sha256(repr(sorted(asked.items())).encode()).hexdigest()[:12]
        identity = f"{stage} of {self.chain.model} {self.chain.fingerprint} on {self.data.name}, {settings}, {about}"
        if self.world.is_main:
            self.folder["checkpoints"].mkdir(exist_ok=True)
        return CheckpointFile(self.folder.checkpoint(stage), identity, self.images.record())

    def train_settings(self, epochs: int) -> TrainSettings:
        return self.config.train.settings(epochs, self.config.seed)


def build_model(asked: ModelConfig, num_classes: int | None, seed: int) -> tuple[nn.Module, LoadedWeights | None]:
    """The baseline and where its weights are from; with so many outputs unless the model's arguments say otherwise.
    Without weights to load it is drawn at random, from the run's seed."""
    kwargs = made_with(asked, num_classes)
    torch.manual_seed(seed)
    checkpoint = Path(asked.checkpoint) if asked.checkpoint else None
    kwargs["checkpoint_img_size"] = asked.checkpoint_img_size
    return load_model_and_source(asked.model, pretrained=asked.pretrained, checkpoint=checkpoint, **kwargs)


def made_with(asked: ModelConfig, num_classes: int | None) -> dict[str, Any]:
    """The model's arguments, with the number of classes of the data unless they name another."""
    return ({} if num_classes is None else {"num_classes": num_classes}) | asked.kwargs


def load_trained(network: nn.Module, run: Run, stage: str, settings: TrainSettings) -> None:
    """Puts the weights into `network` that a stage's training ended with."""
    checkpoint = run.checkpoint(stage, settings).load()
    assert checkpoint is not None, "a training stage that is done leaves a checkpoint"
    load_network(network, checkpoint)
    network.eval()
