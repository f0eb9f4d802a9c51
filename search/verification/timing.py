"""Timing plans on a device that is here: their merged networks, run in the same rounds."""

from collections.abc import Collection, Mapping
from typing import Any

from torch import nn

from latency.device import Device
from latency.study import REFERENCE
from latency.timing import Timings, time_interleaved
from latency.workbench import Workbench, reference
from pruner.choices.plan import Plan
from pruner.progress import Progress, silent
from search.verification.finalists import TimePlans

FINALIST_SECONDS = 10.0
"""How long a few plans are run beside the baseline before they are judged."""


def plan_timer(
    model: nn.Module,
    device: Device[Any],
    batch_size: int,
    extra_choices: Collection[str] = (),
    *,
    seed: int = 0,
    seconds: float = FINALIST_SECONDS,
    progress: Progress = silent,
) -> TimePlans:
    """Returns what times the merged networks of plans, put together of pieces that are compiled once each.

    Args:
        model: The uncut network.
        device: The device, opened.
        batch_size: Images that a network is given at once.
        extra_choices: Choices on request that the plans may make.
        seed: What the order of the rounds is drawn from.
        seconds: How long the plans of one call are run, all together.
        progress: Is told how far that is.
    """
    bench = Workbench(model, device, batch_size, extra_choices)

    def timed(plans: Mapping[str, Plan]) -> Timings:
        programs = {name: bench.program_of(plan) for name, plan in plans.items()}
        return time_interleaved(
            {REFERENCE: reference(device), **programs},
            seconds=seconds,
            seed=seed,
            one_thread=device.one_thread,
            progress=progress,
        )

    return timed
