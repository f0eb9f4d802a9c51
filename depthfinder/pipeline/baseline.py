"""The stages that judge the uncut network: its accuracy, and what makes that doubtful."""

import copy
import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import nn

from depthfinder.console import log
from depthfinder.pipeline.held_out import BATCH
from depthfinder.pipeline.run import Run
from depthfinder.pipeline.uncut import Uncut
from profiles.files import write_whole
from pruner.models.trained_on import TrainedOn, differences, published, trained_on
from pruner.models.weights_fit import LoadedWeights
from pruner.scoring.answers import Answers, answers_on

_AS_IT_CAME: Final = "baseline.json"
_FINETUNED: Final = "finetuned.json"


@dataclass(frozen=True)
class Baseline:
    """The accuracy of the uncut network, and what makes it doubtful.

    Attributes:
        accuracy: Top-1 in [0, 1] on the held-out images.
        images: How many held-out images there are.
        weights: Where the weights are from, in words.
        warnings: What makes the accuracy doubtful, each a sentence.
    """

    accuracy: float
    images: int
    weights: str
    warnings: tuple[str, ...]


def baseline_stage(run: Run) -> None:
    """Judges the uncut network with the weights that it came with."""
    _judge(run, run.uncut.network, "baseline", _AS_IT_CAME)


def finetuned_stage(run: Run) -> None:
    """Judges the uncut network after its own training."""
    _judge(run, run.model, "baseline after its training", _FINETUNED)


def baseline_accuracy(run: Run) -> float:
    """Returns the accuracy in [0, 1] of the network that is cut, on the held-out images, as the stages found it."""
    path = run.folder[_FINETUNED if run.config.train.finetune_epochs else _AS_IT_CAME]
    return float(json.loads(path.read_text(encoding="utf-8"))["accuracy"])


def _judge(run: Run, network: nn.Module, what: str, file: str) -> None:
    is_trained = file == _FINETUNED
    weights = f"trained for {run.config.train.finetune_epochs} epochs" if is_trained else _weights(run.uncut)
    log.info("weights: %s", weights)
    on_device = copy.deepcopy(network).to(run.world.device)
    answers = answers_on(on_device, run.data.test_batches(batch_size=BATCH), run.watch)
    if run.config.data.has_labels:
        log.info("%s: %.2f %% of %s held-out images are right", what, 100 * answers.accuracy, f"{answers.images:,}")
    else:
        log.info("%s: its answers to %s held-out images are what others are held against", what, f"{answers.images:,}")
    warnings = tuple(_doubts(run, answers, is_trained))
    for warning in warnings:
        log.warning("warning: %s", warning)
    found = Baseline(answers.accuracy, answers.images, weights, warnings)
    write_whole(run.folder[file], json.dumps(dataclasses.asdict(found), indent=1) + "\n")


def _weights(uncut: Uncut) -> str:
    if uncut.weights is None:
        return "random, for neither --pretrained nor --checkpoint FILE was given"
    return uncut.weights.text


def _doubts(run: Run, answers: Answers, is_trained: bool) -> Iterator[str]:
    loaded, asked = run.uncut.weights, run.config
    if getattr(run.uncut.network, "num_classes", None) == 0:
        yield "the network has no classifier: its largest feature counts as its answer, which may tell little"
    if not asked.data.has_labels:
        return
    images, classes = run.images, run.data.num_classes
    more_is_meant = asked.data.class_map is not None and answers.outputs > classes
    if answers.outputs != classes and not more_is_meant:
        yield (
            f"the network answers with {answers.outputs} classes, and the images have {classes}: only labels that both "
            "have are ever right; --class-map FILE says which class has which label"
        )
    if loaded is not None and not is_trained:
        told = _learnt_from(run.uncut.network, loaded)
        # A classifier that is new knows no classes.
        yield from differences(dataclasses.replace(told, classes=None) if loaded.new_head else told, images)
    near_chance = answers.is_near_chance(classes)
    chances = (
        f"{1 / classes:.1%} by any of {classes} classes, {answers.largest_share:.1%} by always the most frequent one"
    )
    guessed = f"guessing gets no less, as far as {answers.images:,} images can tell ({chances})"
    if is_trained and near_chance:
        yield f"{guessed}: its training has not taught it these classes; see --finetune-epochs and --lr"
    elif is_trained:
        return
    elif loaded is None and not asked.train.finetune_epochs:
        yield "the network has learnt nothing yet, so no figure of this run says what a trained one would lose"
    elif loaded is None or loaded.new_head:
        return
    elif (relabelled := answers.relabelled()) is not None:
        answer, label = relabelled.first
        names = {number: name for name, number in (images.classes or {}).items()}
        yield (
            "the classes seem to stand in another order than in the weights: with each answer read as the class that "
            f"it mostly stands for, {relabelled.accuracy:.1%} are right (class {answer} of the network is label "
            f"{label} here, {names.get(label, 'without a name')!r}); --class-map FILE lists them in the network's order"
        )
    elif near_chance:
        yield (
            f"{guessed}; likely causes: classes in another order than in the weights (--class-map), images of another "
            "size (--img-size) or normalised otherwise (--mean, --std), weights of another task (--checkpoint)"
        )


def _learnt_from(network: nn.Module, loaded: LoadedWeights) -> TrainedOn:
    """What is known about the images that the network's weights were trained on."""
    file = Path(loaded.source)
    return trained_on(file, network) if file.is_file() else published(network)
