"""Finds latency tables without measuring: the one that was named, and those of devices that are not here."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from depthfinder.config.measure import MeasureConfig
from depthfinder.console import log
from depthfinder.pipeline.offer import Offer
from depthfinder.pipeline.target import Target
from depthfinder.pipeline.uncut import Uncut
from latency.device import missing
from latency.devices import known_device
from latency.modelled import modelled_profile
from latency.own_head import can_change_head
from profiles.descriptions import description_names
from profiles.errors import ProfileError
from profiles.fingerprint import differ_in_head_alone, why_not
from profiles.profile import Profile, Setting
from profiles.store import all_profiles, best_table, check_usable, load_profile, shipped_profiles
from pruner.progress import Progress


@dataclass(frozen=True)
class FoundTable:
    """A latency table that was found or modelled.

    Attributes:
        profile: The table.
        path: Its file; None for a table that was modelled just now.
    """

    profile: Profile
    path: Path | None

    @property
    def text(self) -> str:
        """Which table it is, in words."""
        if self.path is None:
            return f"a {self.profile.origin} table, made now"
        return f"the {self.profile.origin} table {self.path} of {self.profile.created}"


def named_table(target: Target, offer: Offer) -> Profile | None:
    """Loads the table that was asked for by its file; returns None where none was.

    Args:
        target: The device that the table has to be of.
        offer: The blocks that it has to be of, and the rows that it must have.

    Raises:
        ProfileError: when the table is of another network or setting, or lacks rows.
    """
    asked = target.measure
    if asked.profile is None:
        return None
    found = load_profile(asked.profile)
    here = offer.chain.fingerprint
    if target.is_here:
        setting = target.setting
        if differ_in_head_alone(found.fingerprint, here) and can_change_head(found):
            here = found.fingerprint  # the head will be measured
    else:
        there, mode = found.setting, asked.mode
        where = (asked.device, there.hardware, there.runtime, mode.dtype, asked.batch_size, mode.threads)
        setting = Setting(*where, mode.channels_last, mode.compiled)
    for warning in check_usable(Path(asked.profile), found, here, setting):
        log.warning("%s", warning)
    lacking = sorted({choice for row, choice in offer.required if not found.has_row(row, choice)})
    if lacking:
        raise ProfileError(f"{asked.profile} has no rows for {', '.join(lacking)}: profile again, or leave them out")
    return found


def tables_without_devices(
    targets: Sequence[Target], root: Path, uncut: Uncut, offer: Offer, seed: int, progress: Progress
) -> dict[str, FoundTable]:
    """Returns device -> its latency table, for devices that are not here.

    A table has to be of this network in this mode, with all rows that are required. One below `root` is preferred, then
    one that comes with the package; of several that with most of the wanted rows. Without any, a table is modelled from
    published timings of operators, as `profile --modelled` does.

    Args:
        targets: The devices.
        root: The folder of all latency tables.
        uncut: The network.
        offer: Its blocks, and the rows that a table must and should have.
        seed: The seed of the modelled table.
        progress: Called with the steps done, the steps in all, and a note.

    Raises:
        DeviceMissingError: for a device without published timings; the error says what can be done instead.
        UnsupportedModeError: for a mode that a device does not have.
        ProfileError: for a mode without published timings.
    """
    return {target.name: _without_device(target, root, uncut, offer, seed, progress) for target in targets}


def _without_device(
    target: Target, root: Path, uncut: Uncut, offer: Offer, seed: int, progress: Progress
) -> FoundTable:
    asked, chain = target.measure, offer.chain
    device = known_device(target.name)
    device.check_mode(asked.mode)
    for tables in (all_profiles(root), shipped_profiles()):
        in_mode = [found for found in tables if _is_in_mode(found[1], asked)]
        own = [found for found in in_mode if found[1].fingerprint == chain.fingerprint]
        known = best_table(own, offer.required, offer.wanted)
        if known is not None:
            return FoundTable(known[1], known[0])
        for path, other in in_mode:
            if other.model == chain.model:
                log.warning("%s", why_not(path, other.model, other.fingerprint, chain.fingerprint) or _lacking(path))
    if target.name not in description_names():
        absence = device.absence()
        assert absence is not None, "a device that is here needs no table from elsewhere"
        raise missing(target.name, absence, uncut.name)
    profile = modelled_profile(
        uncut.network,
        target.name,
        asked.mode,
        batch_size=asked.batch_size,
        seed=seed,
        model_kwargs=uncut.made_with,
        extra_choices=offer.asked.extra_choices,
        progress=progress,
    )
    return FoundTable(profile, None)


def _lacking(path: Path) -> str:
    return f"{path} has no rows for what was asked for"


def _is_in_mode(profile: Profile, asked: MeasureConfig) -> bool:
    mode, setting = asked.mode, profile.setting
    return (setting.device, setting.batch_size) == (asked.device, asked.batch_size) and (
        setting.mode_fields == (mode.threads, mode.dtype, mode.channels_last, mode.compiled)
    )
