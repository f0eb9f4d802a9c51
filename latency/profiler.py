"""Makes the latency table of a model on a device.

Every distinct piece of the model is timed alone, a few whole networks are timed, and the costs are fitted to both.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from torch import nn

from latency.design import Designed, designed_plans
from latency.device import Device
from latency.pieces import THINNING, VANISHING, Pieces, all_choices, places_of
from latency.rounds import Program, visit_seconds
from latency.study import REFERENCE, Network, Study
from latency.table import Table, network_names, peak_of
from latency.timing import Timings, time_interleaved
from latency.workbench import Workbench
from profiles.profile import Profile
from pruner.choices.plan import Plan
from pruner.progress import Progress, silent

_FITTED_NETWORKS: Final = 24
_HELD_OUT_NETWORKS: Final = 8
_FEWEST_FITTED, _FEWEST_HELD_OUT = 6, 2
_WORTHWHILE_ROUNDS: Final = 5
_SHARE_ALONE: Final = 0.2
_SHARE_BUILDING: Final = 0.35
_SHARE_OF_MEMORY: Final = 0.5
_COPIES_OF_WEIGHTS: Final = 2  # a runtime keeps them beside what it made of them


def profile(
    model: nn.Module,
    device: Device[Any],
    *,
    batch_size: int = 1,
    max_seconds: float = 60.0,
    seed: int = 0,
    model_kwargs: Mapping[str, Any] | None = None,
    extra_choices: Collection[str] = (),
    input_size: Sequence[int] | None = None,
    progress: Progress = silent,
) -> Profile:
    """Measures `model` on `device` and returns its latency table.

    Block costs are fitted in context: whole networks are measured side by side, and the costs are those whose sums
    come nearest to the networks' latencies, with a weak pull towards each block's latency alone. Networks that took no
    part in the fit judge it. Where time or memory is short, there are fewer networks (at least 6 to fit and 2 to judge,
    if the model is deep enough to have as many) and fewer rounds (at least 3).

    Args:
        model: The network to measure. It is not changed.
        device: Where to measure, and in which mode.
        batch_size: Images per run.
        max_seconds: About how long this may take in all, compiling included.
        seed: Seed of the random plans and of the order of measuring.
        model_kwargs: The arguments that `model` was built with, which the table keeps.
        extra_choices: Choices that blocks offer on request only, and that are to be measured too.
        input_size: Size of one image as (C, H, W), as for `describe`.
        progress: Called with the steps done, the steps in all, and a note.

    Returns:
        The latency table, of origin `measured`.

    Raises:
        ProfileError: when a reading is quicker than the device can be.

    Example:
        >>> from depthfinder.testing.samples import small_network
        >>> from latency.devices.null import Null
        >>> table = profile(small_network(), Null(), max_seconds=0.1)
        >>> table.origin, len(table.rows), table.relative_error
        ('measured', 5, 0.0)
    """
    watch = _Stopwatch(max_seconds)
    progress(0, 1, "compiling")
    bench = Workbench(model, device, batch_size, extra_choices, input_size)
    designed = designed_plans(bench.chain, _FITTED_NETWORKS, _HELD_OUT_NETWORKS, seed)
    compile_pieces(bench, designed)
    alone = time_alone(bench, seconds=_SHARE_ALONE * watch.left, seed=seed, progress=progress)
    affordable = _affordable(bench, designed, alone, watch.left)
    programs = _built(bench, affordable, seconds=_SHARE_BUILDING * watch.left, progress=progress)
    study = study_of(bench, list(programs), model_kwargs or {})
    whole = time_interleaved(
        {REFERENCE: bench.references()[REFERENCE], **dict(zip(network_names(study), programs.values(), strict=True))},
        seconds=watch.left,
        seed=seed,
        progress=progress,
    )
    peak = peak_of(alone, device.reference_size) if device.has_peak else None
    table = Table(study, alone, whole, peak=peak, on_processor=device.on_processor)
    return table.profile(device.setting(batch_size), "measured", watch.spent)


def compile_pieces(bench: Pieces, designed: Designed) -> None:
    """Compiles every choice of every block, and whatever else the designed networks consist of.

    The latter includes merged layers in a row that become one. If the model can thin its tokens, all of these are
    compiled for the thinned tokens as well.
    """
    networks = (*designed.fitted, *designed.held_out)
    for plan in (*all_choices(bench.chain, like=networks), *networks):
        bench.network_keys(plan)


def time_alone(bench: Workbench, *, seconds: float, seed: int, progress: Progress = silent) -> Timings:
    """Times every kind of piece that was compiled, together with the programs that gauge the device.

    Args:
        bench: The model's pieces on the device.
        seconds: About how long this may take.
        seed: Seed of the order of measuring.
        progress: Called after each round.

    Returns:
        The readings by the key of the kind, and by `REFERENCE` and `TRAFFIC`.
    """
    programs = {**bench.references(), **{key: bench.alone(key) for key in bench.kinds}}
    return time_interleaved(programs, seconds=seconds, seed=seed, progress=progress)


def study_of(bench: Pieces, networks: Sequence[tuple[Plan, bool]], model_kwargs: Mapping[str, Any]) -> Study:
    """Describes as plain data what is measured of a model: its pieces and some whole networks.

    Args:
        bench: The model's pieces, compiled.
        networks: The plan of each whole network, with whether it is held out of the fit.
        model_kwargs: The arguments that the model was built with.
    """
    return Study(
        model=bench.chain.model,
        model_kwargs=dict(model_kwargs),
        fingerprint=bench.chain.fingerprint,
        batch_size=len(bench.images),
        segments=bench.segments,
        vanishing=VANISHING,
        blocks=dict(places_of(bench.chain, bench.segments)),
        kinds=dict(bench.kinds),
        networks=tuple(_network(bench, plan, held_out) for plan, held_out in networks),
        thinning=THINNING if bench.chain.thinning else frozenset(),
    )


def _network(bench: Pieces, plan: Plan, held_out: bool) -> Network:
    route = bench.route(plan)
    return Network(dict(plan.choices), route.keys, route.wires, held_out)


def _affordable(bench: Workbench, designed: Designed, alone: Timings, seconds: float) -> list[tuple[Plan, bool]]:
    """Returns as many of the designed plans as there is time to measure often enough, each with whether it is held
    out."""
    took_ms = {key: alone.measurement(key).latency_ms for key in bench.kinds}
    order = _alternating(designed)
    chosen: list[tuple[Plan, bool]] = []
    round_seconds = 0.0
    for plan, held_out in order:
        round_seconds += visit_seconds(sum(took_ms[key] for key in bench.network_keys(plan)))
        if not _few(chosen) and round_seconds * _WORTHWHILE_ROUNDS > (1 - _SHARE_BUILDING) * seconds:
            break
        chosen.append((plan, held_out))
    return chosen


def _few(networks: Iterable[tuple[Plan, bool]]) -> bool:
    enough = Counter(is_held_out for _, is_held_out in networks)
    return enough[False] < _FEWEST_FITTED or enough[True] < _FEWEST_HELD_OUT


def _built(
    bench: Workbench, order: Sequence[tuple[Plan, bool]], *, seconds: float, progress: Progress
) -> dict[tuple[Plan, bool], Program]:
    """Builds as many of the networks as time and memory allow: (plan, whether it is held out) -> program."""
    started = time.monotonic()
    room = _SHARE_OF_MEMORY * bench.device.memory_bytes
    built: dict[tuple[Plan, bool], Program] = {}
    for plan, held_out in order:
        route = bench.route(plan)
        room -= _COPIES_OF_WEIGHTS * bench.weight_bytes(route.keys)
        if not _few(built) and (room < 0 or time.monotonic() - started > seconds):
            break
        built[plan, held_out] = bench.network(route)
        progress(len(built), len(order), "building networks")
    return built


def _alternating(designed: Designed) -> list[tuple[Plan, bool]]:
    """Mixes fitted and held-out plans evenly, so that every beginning of the list has some of both."""
    fitted, held_out = len(designed.fitted), len(designed.held_out)
    places = [((i + 0.5) / fitted if i else 0.0, plan, False) for i, plan in enumerate(designed.fitted)]
    places += [((i + 0.5) / held_out, plan, True) for i, plan in enumerate(designed.held_out)]
    return [(plan, is_held_out) for _, plan, is_held_out in sorted(places, key=lambda place: place[0])]


class _Stopwatch:
    """Counts the seconds since it was made."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._started = seconds, time.monotonic()

    @property
    def spent(self) -> float:
        """The seconds that have passed."""
        return time.monotonic() - self._started

    @property
    def left(self) -> float:
        """The seconds that are left, at least 0."""
        return max(0.0, self._seconds - self.spent)
