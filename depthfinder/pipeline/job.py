"""Doing what was asked for, from the settings to the files of a folder: for the command line and for Python alike.

Nothing heavy is imported before it is known that something is left to do, and that the words are right.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from depthfinder.config.run import RunConfig
from depthfinder.console import Watch, log_to, log_warnings
from depthfinder.folder.run_folder import RunFolder
from depthfinder.folder.stages import stages_of
from depthfinder.pipeline.claiming import claim, difference
from profiles.names import below, one_name

Outcome = Literal["done", "done before", "helped"]
"""What became of it: another process of the same training has the results where this one helped."""


@dataclass(frozen=True)
class Job:
    """What was asked for, and where it goes.

    Attributes:
        config: all settings.
        output: the folder that holds profiles and runs.
        experiment: the name of the folder below it; None for one by the settings that matter most.
        storage: the study's storage as it was typed, with its password if it has one: the settings have none.
        check_words: says what is wrong with the settings as far as that can be told without torch.
    """

    config: RunConfig
    output: Path
    experiment: str | None
    storage: str | None
    check_words: Callable[[RunConfig], None]

    @property
    def folder(self) -> RunFolder:
        """Raises `FileNameError` for what is not the name of one folder."""
        name = self.config.default_experiment if self.experiment is None else one_name(self.experiment)
        return RunFolder.named(self.output, name)

    def carry_out(self, stages: tuple[str, ...]) -> Outcome:
        """Does what is left of `stages`; writes nothing before all that it needs is known to be here."""
        folder, config = self.folder, self.config
        wanted = stages_of(stages, finetunes=config.train.finetune_epochs > 0, scored_by=config.search.scored_by)
        if not difference(folder, config).again and all(folder.is_done(stage) for stage in wanted):
            claim(folder, config)
            return "done before"
        self.check_words(config)
        from depthfinder.pipeline.carry_out import carry_out, check
        from depthfinder.pipeline.run import Run
        from pruner.training.world import joined

        with joined(config.train.train_device) as world:
            watch = Watch(shown=world.is_main)
            profiles = below(self.output, "profiles")
            run = Run(config, folder, profiles, watch, _with_password(self.storage), world=world)
            check(run, wanted)
            if world.is_main:
                folder.path.mkdir(parents=True, exist_ok=True)
                log_to(folder["log.txt"])
                claim(folder, config)
            else:
                log_warnings()
            with watch.signals():
                carry_out(run, wanted)
        return "done" if world.is_main else "helped"


def run_job(config: RunConfig, output: Path, *, experiment: str | None = None, storage: str | None = None) -> Job:
    """The job of `run`, `search` and `pareto`.

    Args:
        config: All settings.
        output: The folder that holds profiles and runs.
        experiment: The name of the folder below it; by default from the settings that matter most.
        storage: The study's storage as it was typed.
    """

    def check_words(config: RunConfig) -> None:
        from depthfinder.pipeline.at_once import check_run

        check_run(config, storage)

    return Job(config, output, experiment, storage, check_words)


def _with_password(storage: str | None) -> str | None:
    """A storage read back from `args.yaml` has stars for its password: PGPASSWORD or .pgpass has the real one."""
    return None if storage is None else storage.replace(":***@", "@")
