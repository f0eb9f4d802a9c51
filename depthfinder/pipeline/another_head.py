"""Reuses the latency table of a network with another head, as for other classes: only the head is measured again."""

from pathlib import Path
from typing import Any

from depthfinder.console import log
from depthfinder.pipeline.uncut import Uncut
from latency.device import Device
from latency.own_head import can_change_head, with_own_head
from profiles.fingerprint import differ_in_head_alone
from profiles.profile import Profile, Setting
from profiles.store import all_profiles
from pruner.progress import Progress


def table_of_another_head(root: Path, fingerprint: str, setting: Setting) -> tuple[Path, Profile] | None:
    """Finds the newest table below `root` of this network with another head, measured in the same setting.

    Args:
        root: The folder of all latency tables.
        fingerprint: The fingerprint of the network.
        setting: The device, and how networks are run there.

    Returns:
        The file and the table; None when no table is found.
    """
    return max(
        (
            (path, profile)
            for path, profile in all_profiles(root)
            if differ_in_head_alone(profile.fingerprint, fingerprint)
            and profile.setting == setting
            and can_change_head(profile)
        ),
        key=lambda pair: pair[1].created,
        default=None,
    )


def with_head_of(
    uncut: Uncut, device: Device[Any], path: Path, profile: Profile, seed: int, progress: Progress
) -> Profile:
    """Measures the head of a network, puts it into the table of the network with another head, and logs this.

    Args:
        uncut: The network.
        device: The device that the table is of.
        path: The file of the table, for the log.
        profile: The table.
        seed: The seed of the measurement.
        progress: Called with the steps done, the steps in all, and a note.

    Returns:
        The table of `uncut`.
    """
    found = with_own_head(profile, uncut.network, device, seed=seed, model_kwargs=uncut.made_with, progress=progress)
    head = found.segments[-1].name
    log.info(
        "%s is of this network with another head: that was measured again (%.4f ms, before %.4f), and all other rows "
        "are kept. The uncut network took %.3f ms, by the table %.3f",
        path, found.block_ms(head, "keep"), profile.block_ms(head, "keep"),
        found.baseline_ms, found.anchors[0].predicted_ms,
    )  # fmt: skip
    return found
