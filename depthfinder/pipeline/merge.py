"""The stages that hand a run over: the merged network as files, and the page about it."""

import dataclasses
import json
from typing import Final

from depthfinder.console import log
from depthfinder.pipeline.held_out import held_out_images
from depthfinder.pipeline.run import Run
from depthfinder.pipeline.training import closed
from depthfinder.report.page import write_report
from latency.export import export_onnx, export_safetensors
from profiles.files import write_whole
from pruner.models.trained_on import ENTRY
from pruner.network.surgery import merge

_PARITY_IMAGES: Final = 1_000


def merge_stage(run: Run) -> None:
    """The merged network, as ONNX and safetensors, compared in both runtimes on test images."""
    merged = merge(closed(run))
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


def report_stage(run: Run) -> None:
    """The page that a person reads."""
    write_report(run.folder)
