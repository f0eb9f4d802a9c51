"""One run: its settings, and all that its stages share."""

import copy
import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

from torch import nn

from depthfinder.config.run import RunConfig
from depthfinder.console import Watch
from depthfinder.folder.run_folder import RunFolder
from depthfinder.pipeline.datasets import BAD_IMAGES, build_data, described_images, find_catalogue
from depthfinder.pipeline.dependencies import as_text, trainings_depend_on
from depthfinder.pipeline.offer import Offer
from depthfinder.pipeline.tables import FoundTable, named_table, tables_without_devices
from depthfinder.pipeline.target import Target, targets_of
from depthfinder.pipeline.trainer import Trainer
from depthfinder.pipeline.uncut import Uncut
from profiles.profile import Profile
from pruner.choices.chain import Chain
from pruner.choices.plan import Plan
from pruner.data.catalogue import Catalogue
from pruner.data.images import ImageData
from pruner.models.checkpoint import CheckpointFile
from pruner.models.trained_on import TrainedOn
from pruner.network.surgery import describe
from pruner.training.settings import TrainSettings
from pruner.training.state import load_network
from pruner.training.world import World, alone

# The plan's own training has another name than its stage.
_TRAINED_BY: Final = {"progressive": "train"}


@dataclass(frozen=True)
class Run:
    """What every stage needs: the settings, the folder, and what follows from both, made when it is first asked for.

    Attributes:
        config: All settings.
        folder: The folder of the run's results.
        profiles_root: The folder of all latency tables, which runs share.
        watch: Shows progress, and stops the run between two steps when a signal has come.
        storage: The URL of the study's storage as it was typed, with its password; the settings have it without.
        world: The processes that train together, and the device that they train on.
    """

    config: RunConfig
    folder: RunFolder
    profiles_root: Path
    watch: Watch
    storage: str | None = None
    world: World = field(default_factory=alone)

    @cached_property
    def uncut(self) -> Uncut:
        """The network that was asked for, with the weights that it came with."""
        classes = None if self.catalogue is None else self.catalogue.num_classes
        return Uncut.of(self.config.network, classes, self.config.seed)

    @cached_property
    def model(self) -> nn.Module:
        """The uncut network, with the weights of its own training where that was asked for."""
        epochs = self.config.train.finetune_epochs
        if not epochs:
            return self.uncut.network
        assert self.folder.is_done("finetune"), "who asks for weights before they are trained may have the structure"
        network = copy.deepcopy(self.uncut.network)
        load_trained(network, self.checkpoint("finetune", self.train_settings(epochs)))
        return network

    @cached_property
    def catalogue(self) -> Catalogue | None:
        """The data set, not prepared for a model yet; None for the built-in one, and where no folder was named."""
        return find_catalogue(self.config.data)

    @cached_property
    def data(self) -> ImageData:
        """The images that networks are trained and judged on."""
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
        return build_data(self.config.data, self.catalogue, self.uncut.network, self.chain, bad_images, self.watch)

    @cached_property
    def images(self) -> TrainedOn:
        """The classes, the size and the normalisation of the images."""
        return described_images(self.config.data, self.catalogue, self.uncut.network, self.chain)

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """The devices that have a budget; the one that was asked for is the first."""
        return targets_of(self.config.measure, self.folder.path)

    @property
    def target(self) -> Target:
        """The device that was asked for."""
        return self.targets[0]

    @property
    def offer(self) -> Offer:
        """The choices that each block offers, by the latency tables that the run has so far."""
        tables = tuple(target.profile for target in self.targets if target.has_table)
        return Offer(self.config.search, self._asked_chain, tables)

    @property
    def chain(self) -> Chain:
        """The blocks of the network, with the choices that are offered."""
        return self.offer.chain

    @cached_property
    def _asked_chain(self) -> Chain:
        return describe(self.uncut.network, self.config.search.extra_choices)

    @cached_property
    def named_table(self) -> Profile | None:
        """The latency table that was asked for by its file. Raises `ProfileError` when it does not match."""
        return named_table(self.target, self.offer)

    @cached_property
    def borrowed_tables(self) -> dict[str, FoundTable]:
        """Device -> its latency table, for devices that are not here and whose table was not named.

        Raises `DeviceMissingError` when no table can be found or modelled.
        """
        absent = [target for target in self.targets if not target.is_here]
        if self.named_table is not None:
            absent = [target for target in absent if target is not self.target]
        return tables_without_devices(absent, self.profiles_root, self.uncut, self.offer, self.config.seed, self.watch)

    @cached_property
    def plan(self) -> Plan:
        """The plan that the search found."""
        return Plan.from_json(self.folder["plan.json"].read_text())

    def checkpoint(self, stage: str, settings: TrainSettings) -> CheckpointFile:
        """Returns the file of a stage's weights. Only a training with the same settings goes on from it."""
        asked = as_text(trainings_depend_on(_TRAINED_BY.get(stage, stage), self.config))
        asked |= {"weights": self.uncut.digest}
        if stage in _TRAINED_BY:
            asked |= {"plan": self.plan.to_json()}
        about = hashlib.sha256(repr(sorted(asked.items())).encode()).hexdigest()[:12]
        identity = f"{stage} of {self.chain.model} {self.chain.fingerprint} on {self.data.name}, {settings}, {about}"
        if self.world.is_main:
            self.folder["checkpoints"].mkdir(exist_ok=True)
        return CheckpointFile(self.folder.checkpoint(stage), identity, self.images.record())

    @property
    def trainer(self) -> Trainer:
        """The settings, images and processes that all trainings of the run share."""
        asked = self.config
        return Trainer(asked.train, asked.seed, self.data, asked.search.fit_images, self.world, self.watch)

    def train_settings(self, epochs: int) -> TrainSettings:
        """Returns the settings of a training of so many epochs."""
        return self.config.train.settings(epochs, self.config.seed)


def load_trained(network: nn.Module, file: CheckpointFile) -> None:
    """Loads the weights into `network` that a stage's training ended with, and puts it in evaluation mode."""
    checkpoint = file.load()
    assert checkpoint is not None, "a training stage that is done leaves a checkpoint"
    load_network(network, checkpoint)
    network.eval()
