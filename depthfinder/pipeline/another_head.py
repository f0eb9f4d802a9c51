"""The latency table of a network whose head alone was changed, for other classes mostly: all but the head is known."""

from pathlib import Path

from depthfinder.console import log
from depthfinder.pipeline.run import Run
from latency.own_head import can_change_head, with_own_head
from profiles.fingerprint import differ_in_head_alone
from profiles.profile import Profile
from profiles.store import all_profiles


def table_of_another_head(run: Run) -> tuple[Path, Profile] | None:
    """The newest table that was measured of this network with another head in this very setting; None when there is
    none."""
    setting, here = run.device.setting(run.config.measure.batch_size), run.chain.fingerprint
    return max(
        (
            (path, profile)
            for path, profile in all_profiles(run.profiles_root)
            if differ_in_head_alone(profile.fingerprint, here)
            and profile.setting == setting
            and can_change_head(profile)
        ),
        key=lambda pair: pair[1].created,
        default=None,
    )


def with_head_of(run: Run, path: Path, profile: Profile) -> Profile:
    """The table in the file at `path` with the head of the run's network measured again, and a line that says so."""
    asked = run.config
    found = with_own_head(
        profile, run.untuned, run.device, seed=asked.seed, model_kwargs=run.made_with, progress=run.watch
    )
    head = found.segments[-1].name
    log.info(
        "%s is of this network with another head: that was measured again (%.4f ms, before %.4f), and all other rows "
        "are kept. The uncut network took %.3f ms, by the table %.3f",
        path, found.block_ms(head, "keep"), profile.block_ms(head, "keep"),
        found.baseline_ms, found.anchors[0].predicted_ms,
    )  # fmt: skip
    return found
