"""Carries out a command from its settings to the files of its folder, for the command line and for Python alike.

Nothing heavy is imported before it is known that a stage is left to carry out, and that the settings are right.
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
"""How a job ended. `helped`: this process trained along with the first one, which has the results."""


@dataclass(frozen=True)
class Job:
    """The settings of a command, and where its results are written.

    Attributes:
        config: All settings.
        output: The folder that holds profiles and runs.
        experiment: The name of the folder below it; None for one by the settings that matter most.
        storage: The URL of the study's storage as it was typed, with its password; the settings have it without.
        check_words: Raises what is wrong with the settings, as far as that can be told without torch.
    """

    config: RunConfig
    output: Path
    experiment: str | None
    storage: str | None
    check_words: Callable[[RunConfig], None]

    @property
    def folder(self) -> RunFolder:
        """The folder of the results. Raises `FileNameError` where `experiment` is not the name of one folder."""
        name = self.config.default_experiment if self.experiment is None else one_name(self.experiment)
        return RunFolder.named(self.output, name)

    def carry_out(self, stages: tuple[str, ...]) -> Outcome:
        """Carries out those of `stages` that are left; checks that all they need is here before it writes anything."""
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
    """Returns the job of `run`, `search` or `pareto`.

    Args:
        config: All settings.
        output: The folder that holds profiles and runs.
        experiment: The name of the folder below it; by default from the settings that matter most.
        storage: The URL of the study's storage as it was typed.
    """

    def check_words(config: RunConfig) -> None:
        from depthfinder.pipeline.at_once import check_run

        check_run(config, storage)

    return Job(config, output, experiment, storage, check_words)


def _with_password(storage: str | None) -> str | None:
    """The URL without the stars that `args.yaml` has for a password: PGPASSWORD or .pgpass has the real one."""
    return None if storage is None else storage.replace(":***@", "@")
