"""The latency table for a device that is not here: one from the output folder, one that ships, or a modelled one."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from depthfinder.config.run import RunConfig
from depthfinder.console import log
from latency.device import missing
from latency.devices import known_device
from latency.modelled import modelled_profile
from profiles.descriptions import description_names
from profiles.fingerprint import why_not
from profiles.profile import Profile
from profiles.store import all_profiles, best_table, shipped_profiles
from pruner.choices.chain import Chain
from pruner.progress import Progress


@dataclass(frozen=True)
class FoundTable:
    """A table and where it lies; `path` is None for one that was modelled just now."""

    profile: Profile
    path: Path | None

    @property
    def text(self) -> str:
        """Which table it is, for a log."""
        if self.path is None:
            return f"a {self.profile.origin} table, made now"
        return f"the {self.profile.origin} table {self.path} of {self.profile.created}"


def table_without_device(
    asked: RunConfig,
    root: Path,
    model: nn.Module,
    chain: Chain,
    required: Collection[tuple[str, str]],
    wanted: Collection[tuple[str, str]],
    progress: Progress,
) -> FoundTable:
    """The newest table of this network in this mode below `root`, else the one that ships, else one modelled by
    published timings of operators, as `profile --modelled` makes it: the first with all rows that are `required`, and
    of several that with most that are `wanted`.

    Raises `DeviceMissingError`, which names the ways on, for a device of which nothing is published,
    `UnsupportedModeError` for a mode that it has not, and `ProfileError` for one of which nothing is published.
    """
    device = known_device(asked.measure.device)
    device.check_mode(asked.measure.mode)
    for tables in (all_profiles(root), shipped_profiles()):
        in_mode = [found for found in tables if _is_in_mode(found[1], asked)]
        own = [found for found in in_mode if found[1].fingerprint == chain.fingerprint]
        known = best_table(own, required, wanted)
        if known is not None:
            return FoundTable(known[1], known[0])
        for path, other in in_mode:
            if other.model == chain.model:
                log.warning("%s", why_not(path, other.model, other.fingerprint, chain.fingerprint) or _lacking(path))
    if asked.measure.device not in description_names():
        absence = device.absence()
        assert absence is not None, "a device that is here needs no table from elsewhere"
        raise missing(asked.measure.device, absence, asked.network.model)
    profile = modelled_profile(
        model,
        asked.measure.device,
        asked.measure.mode,
        batch_size=asked.measure.batch_size,
        seed=asked.seed,
        model_kwargs=asked.network.kwargs,
        extra_choices=asked.search.extra_choices,
        progress=progress,
    )
    return FoundTable(profile, None)


def _lacking(path: Path) -> str:
    return f"{path} has no rows for what was asked for"


def _is_in_mode(profile: Profile, asked: RunConfig) -> bool:
    mode, setting = asked.measure.mode, profile.setting
    return (setting.device, setting.batch_size) == (asked.measure.device, asked.measure.batch_size) and (
        setting.mode_fields == (mode.threads, mode.dtype, mode.channels_last, mode.compiled)
    )
