"""A plan's network as a run trains it: fitted in sequence, its gates closed linearly, merged."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from torch import Tensor, nn

from pruner.choices.plan import Plan
from pruner.data.images import ImageData
from pruner.fitting.in_sequence import fit_in_sequence
from pruner.models.checkpoint import CheckpointFile
from pruner.network.surgery import apply, describe, merge
from pruner.progress import silent
from pruner.training.accuracy import accuracy
from pruner.training.loop import fit
from pruner.training.objective import Teaching, light_copy
from pruner.training.pace import lost_before_training, paced
from pruner.training.pairs import learn_as_one, learn_as_pairs
from pruner.training.progressive import Progressive, calibrate_norms, finalize
from pruner.training.schedules import Schedule, from_the_end
from pruner.training.settings import LEAST_LR_SHARE, TrainSettings

_CLOSING_SHARE: Final = 0.3


def trained_plan(
    whole: nn.Module,
    plan: Plan,
    data: ImageData,
    settings: TrainSettings,
    images: Sequence[Tensor],
    least_lr_share: float = LEAST_LR_SHARE,
) -> tuple[nn.Module, float]:
    """The merged network, and the test accuracy that there was before the training; fitted on batches of `images`."""
    cut = apply(whole, plan, merge_init="auto")
    calibrate_norms(cut, plan, data, settings)
    fit_in_sequence(cut, images)
    cut.set_lambda(0.0)
    before = accuracy(cut, data.test_batches(batch_size=250))
    settings = paced(settings, lost_before_training(cut, whole, data), least_lr_share)
    learn_as_pairs(cut)
    schedule = Schedule(from_the_end(describe(whole), plan), "linear", _CLOSING_SHARE)
    with tempfile.TemporaryDirectory() as folder:
        file = CheckpointFile(Path(folder) / "state.safetensors", "study")
        fit(Progressive(cut, Teaching(light_copy(whole)), schedule), data, settings, file, silent)
    learn_as_one(cut)
    finalize(cut, data, settings)
    return merge(cut.eval()), before
