"""Whose a run folder is, and what of it is done again when it is asked for something else."""

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
    """How what is asked for differs from what a folder holds: in words, and the stages that depend on it."""

    words: tuple[str, ...] = ()
    again: tuple[str, ...] = ()


def difference(folder: RunFolder, asked: RunConfig) -> Difference:
    """Raises `DifferentRunError`, which lists the differences, when a training that others build upon depends on
    them."""
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
    """Makes the folder that of a run with these arguments. What stages left that depended on others is set aside, so
    that they are done again; the rest is kept. Raises `DifferentRunError`."""
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
    """What the stage depends on, or did, that is not as it was."""
    then, here = as_text(depends(stage, before)), as_text(depends(stage, now))
    names = [name for name in {**then, **here} if then.get(name) != here.get(name)]
    return [f"{name}: {then.get(name)} then, {here.get(name)} now" for name in names]


def _all(asked: RunConfig) -> dict[str, str]:
    """All that some stage of a run depends on."""
    return as_text({name: value for name, value in flat(asked).items() if name not in MAY_CHANGE})
