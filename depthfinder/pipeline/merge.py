"""The stages that write the merged network to files, and the report."""

import dataclasses
import json
from typing import Final

from torch import nn

from depthfinder.console import log
from depthfinder.pipeline.held_out import held_out_images
from depthfinder.pipeline.run import Run
from depthfinder.pipeline.training import trained
from depthfinder.report.page import write_report
from latency.export import export_onnx, export_safetensors
from profiles.files import write_whole
from pruner.models.trained_on import ENTRY
from pruner.models.weights_fit import load_weights
from pruner.network.surgery import apply, merge

_PARITY_IMAGES: Final = 1_000


def merge_stage(run: Run) -> None:
    """Writes the merged network as ONNX and safetensors, and compares ONNX Runtime with PyTorch on held-out images."""
    merged = merge(trained(run))
    learnt_from = {ENTRY: run.images.to_json()}
    export_safetensors(merged, run.folder["merged.safetensors"], run.plan, learnt_from)
    images = held_out_images(run.data, _PARITY_IMAGES)
    parity = export_onnx(merged, run.folder["merged.onnx"], images, plan=run.plan, metadata=learnt_from)
    log.info(
        "merged.onnx: the same top-1 as PyTorch on %d of %d images, logits within %.1e",
        parity.same_top1,
        parity.images,
        parity.largest_difference,
    )
    write_whole(run.folder["parity.json"], json.dumps(dataclasses.asdict(parity), indent=1) + "\n")


def handed_over(run: Run) -> nn.Module:
    """Returns the merged network with the weights that `merge_stage` wrote, in evaluation mode."""
    cut = apply(run.model, run.plan)
    cut.set_lambda(0.0)
    network = merge(cut)
    load_weights(network, run.folder["merged.safetensors"])
    return network.eval()


def report_stage(run: Run) -> None:
    """Writes the report."""
    write_report(run.folder)
