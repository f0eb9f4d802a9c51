"""The stages of `sparsify`: they find masks and train under them, write the network to files, and judge it."""

import torch
from torch import Tensor, nn

from depthfinder.config.masks import MaskConfig
from depthfinder.config.run import SparsifyConfig
from depthfinder.console import log
from depthfinder.folder.mask_result import MaskResult, MeasuredRemoval
from depthfinder.pipeline.baseline import baseline_accuracy
from depthfinder.pipeline.checks import check_inputs
from depthfinder.pipeline.held_out import held_out_accuracy, held_out_images
from depthfinder.pipeline.run import Run, load_trained
from depthfinder.pipeline.training import check_training, train
from latency.export import export_onnx
from latency.timing import time_interleaved
from profiles.files import write_whole
from pruner.errors import SettingsError
from pruner.masks.export import masks_file, weights_file
from pruner.masks.granularity import NOfM, parse
from pruner.masks.masked import Masked
from pruner.masks.methods import known_method
from pruner.masks.sparsifying import Sparsifying
from pruner.models.trained_on import ENTRY
from pruner.training.objective import Teaching, light_copy

_PARITY_IMAGES = 1_000


def check_masks(run: Run) -> None:
    """Checks before any work that the network can be masked as asked.

    Raises:
        SettingsError: for a setting that is refused; other errors as `check_inputs` and `check_training` raise them.
    """
    asked = config_of(run)
    known_method(asked.masks.method)
    if not parse(asked.masks.granularity).keeps_its_shape:
        _ = run.target.device
    check_inputs(run)
    check_training(run)
    if asked.train.train_torchcompile:
        raise SettingsError("--train-torchcompile does not go with masks, which are other weights at each step")
    Sparsifying(masked_network(asked.masks, run.uncut.network), search_share=asked.masks.search_share)


def mask_stage(run: Run) -> None:
    """Searches for the masks, and trains the network under them."""
    asked = config_of(run)
    teaching = None
    if asked.train.distill_loss_weight:
        teaching = Teaching(light_copy(run.model), asked.train.kd_temperature, asked.train.distill_loss_weight)
    objective = Sparsifying(
        masked_network(asked.masks, run.model), teaching, asked.train.mixing.smoothing, asked.masks.search_share
    )
    train(run, "masks", objective, run.train_settings(asked.masks.epochs))


def hand_over_stage(run: Run) -> None:
    """Writes the masked weights, and with them their masks, or for channels the smaller network as ONNX."""
    masked = trained_masks(run)
    write_whole(run.folder["masked.safetensors"], weights_file(masked, run.images.record()))
    if masked.granularity.keeps_its_shape:
        write_whole(run.folder["masks.safetensors"], masks_file(masked))
        return
    images, learnt_from = held_out_images(run.data, _PARITY_IMAGES), {ENTRY: run.images.to_json()}
    parity = export_onnx(masked.removed(), run.folder["pruned.onnx"], images, metadata=learnt_from)
    log.info("pruned.onnx: the same top-1 as PyTorch on %d of %d images", parity.same_top1, parity.images)


def judge_stage(run: Run) -> None:
    """Judges the network by its accuracy on held-out images, and for channels by its latency beside the baseline's."""
    masked = trained_masks(run)
    removal = None if masked.granularity.keeps_its_shape else _measured(run, masked)
    after = masked.hardened() if removal is None else masked.removed()
    support = masked.support()
    masks = [part.spread(support[part.key])[part.weight] for part in masked.parts]
    weights = masked.weights()
    inside = sum(float(_as_wide(mask, weights[part.key])) for part, mask in zip(masked.parts, masks, strict=True))
    result = MaskResult(
        model=run.chain.model,
        method=masked.method.name,
        granularity=masked.granularity.text,
        sparsity=masked.selection.sparsity,
        epochs=config_of(run).masks.epochs,
        accuracy_before=baseline_accuracy(run),
        accuracy_after=held_out_accuracy(after, run.data, run.world.device),
        layers=masked.sparsities(),
        weights_gone=1 - inside / sum(weight.numel() for weight in weights.values()),
        parameters_before=sum(parameter.numel() for parameter in run.model.parameters()),
        parameters_after=sum(parameter.numel() for parameter in after.parameters()),
        removal=removal,
        verdict=_no_gain(masked) if removal is None else removal.verdict,
        seconds=run.folder.seconds(),
    )
    result.save(run.folder["result.json"])
    for line in result.lines:
        log.info("%s", line)


def masked_network(asked: MaskConfig, network: nn.Module) -> Masked:
    """Returns a network with masks as asked for, which mask nothing yet."""
    return Masked(network, parse(asked.granularity), asked.sparsity, known_method(asked.method))


def trained_masks(run: Run) -> Masked:
    """Returns the masked network as its training left it, on the CPU."""
    asked = config_of(run).masks
    masked = masked_network(asked, run.uncut.network)
    load_trained(masked, run.checkpoint("masks", run.train_settings(asked.epochs)))
    return masked


def config_of(run: Run) -> SparsifyConfig:
    """Returns the settings of a run of `sparsify`."""
    assert isinstance(run.config, SparsifyConfig), "these are stages of sparsify"
    return run.config


def _measured(run: Run, masked: Masked) -> MeasuredRemoval:
    asked, seed, device = run.config.measure, run.config.seed, run.target.device
    images = torch.rand(asked.batch_size, *run.chain.input_size, generator=torch.Generator().manual_seed(seed))
    programs = {"baseline": device.load(run.model, images), "pruned": device.load(masked.removed(), images)}
    timings = time_interleaved(
        programs,
        seconds=asked.max_seconds,
        seed=seed,
        one_thread=device.one_thread,
        progress=run.watch,
    )
    return MeasuredRemoval(
        setting=run.target.setting,
        baseline=timings.measurement("baseline"),
        pruned=timings.measurement("pruned"),
        ratio=timings.ratio("pruned", "baseline"),
    )


def _as_wide(mask: Tensor, weight: Tensor) -> Tensor:
    """The number of values of the weight that a mask keeps, as a scalar."""
    return mask.expand_as(weight).sum()


def _no_gain(masked: Masked) -> str:
    needs = "sparse tensor cores" if isinstance(masked.granularity, NOfM) else "kernels that skip blocks of zeros"
    return f"Nothing runs faster by itself: zeros are multiplied like other numbers, and gain time only with {needs}."
