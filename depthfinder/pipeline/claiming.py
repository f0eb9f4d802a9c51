"""Decides whether a run may use a folder that holds a run already, and which stages are then carried out again."""

from dataclasses import dataclass
from typing import Final

from depthfinder.config.declared import flat
from depthfinder.config.run import RunConfig
from depthfinder.console import log
from depthfinder.errors import DifferentRunError
from depthfinder.folder.run_folder import EARLIER, RunFolder
from depthfinder.folder.stages import STAGES
from depthfinder.pipeline.dependencies import MAY_CHANGE, as_text, depends

_ARGUMENTS: Final = "args.yaml"


@dataclass(frozen=True)
class Difference:
    """How the settings of a run differ from those of the run that a folder holds.

    Attributes:
        words: The settings that differ, with both values, each as text.
        again: The stages that depend on them, which are to be carried out again.
    """

    words: tuple[str, ...] = ()
    again: tuple[str, ...] = ()


def difference(folder: RunFolder, asked: RunConfig) -> Difference:
    """Compares the settings of a run with those of the run that a folder holds.

    Raises:
        DifferentRunError: when a costly training in the folder depends on settings that differ; it lists them.
    """
    if not folder[_ARGUMENTS].exists():
        return Difference()
    before = type(asked).load(folder[_ARGUMENTS])
    begun = folder.begun()
    found = {stage: _differences(stage, before, asked) for stage in begun}
    costly = [stage for stage in begun if STAGES[stage].is_costly and found[stage]]
    if costly:
        listed = "; ".join(dict.fromkeys(word for stage in costly for word in found[stage]))
        raise DifferentRunError(
            f"{folder.path} holds a run with other arguments ({listed}), which its {costly[0]} stage depends on; "
            "give this one a folder of its own with --experiment"
        )
    words = tuple(dict.fromkeys(word for stage in begun for word in found[stage]))
    return Difference(words, tuple(stage for stage in begun if found[stage]))


def claim(folder: RunFolder, asked: RunConfig) -> None:
    """Makes the folder that of a run with these settings.

    Stages that depend on settings that differ are set aside, to be carried out again; the others are kept.

    Raises:
        DifferentRunError: as `difference` does.
    """
    found = difference(folder, asked)
    if found.again:
        log.warning(
            "%s: done again: %s; what they had left is in %s",
            "; ".join(found.words),
            ", ".join(found.again),
            folder[EARLIER],
        )
        folder.set_aside(found.again)
    if not folder[_ARGUMENTS].exists() or _all(type(asked).load(folder[_ARGUMENTS])) != _all(asked):
        asked.save(folder[_ARGUMENTS])


def _differences(stage: str, before: RunConfig, now: RunConfig) -> list[str]:
    """The settings that the stage depends on now or depended on before, and that differ, each as text."""
    then, here = as_text(depends(stage, before)), as_text(depends(stage, now))
    names = [name for name in {**then, **here} if then.get(name) != here.get(name)]
    return [f"{name}: {then.get(name)} then, {here.get(name)} now" for name in names]


def _all(asked: RunConfig) -> dict[str, str]:
    """All settings that can change the result of a run."""
    return as_text({name: value for name, value in flat(asked).items() if name not in MAY_CHANGE})
