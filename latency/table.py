"""From readings to a latency table: the fit in context, its judgement, and what makes a reading unbelievable."""

import datetime

from latency.fit import Cost, Term, WholeNetwork, in_context_costs
from latency.roofline import BEYOND_BELIEF, Peak
from latency.study import REFERENCE, TRAFFIC, Kind, Network, RowKey, Study, key_of
from latency.timing import Timings, round_spread
from profiles.errors import ProfileError
from profiles.measurement import Measurement
from profiles.profile import Anchor, Conditions, Origin, Pair, Profile, Row, Setting, judged_error


class Table:
    """One study with the readings of its pieces alone, and of its networks side by side with the reference."""

    def __init__(
        self, study: Study, alone: Timings, whole: Timings, *, peak: Peak | None, on_processor: bool = True
    ) -> None:
        """`on_processor` says whether the work was the processor's, so that its time on it tells of other work.

        Raises `ProfileError` when a piece is quicker than its device can be.
        """
        self._study, self._whole, self._peak, self._on_processor = study, whole, peak, on_processor
        self._alone = {key: alone.measurement(key) for key in study.kinds}
        self._check_floors()

    def profile(self, setting: Setting, origin: Origin, seconds: float) -> Profile:
        """The latency table: `seconds` is how long it took to measure."""
        study = self._study
        measured = {name: self._whole.measurement(name) for name in network_names(study)}
        counts = {name: self._counts(network) for name, network in network_names(study).items()}
        costs = in_context_costs(
            [
                WholeNetwork(counts[name], measured[name].latency_ms)
                for name, network in network_names(study).items()
                if not network.held_out
            ],
            self._prior(),
        )
        anchors = tuple(
            Anchor(
                choices=dict(network.choices),
                measured=measured[name],
                predicted_ms=sum(costs[term].in_context_ms * n for term, n in counts[name].items()),
                held_out=network.held_out,
            )
            for name, network in network_names(study).items()
        )
        reference = self._whole.measurement(REFERENCE)
        # Of the median, not of the lower quartile, for what takes the processor now and then shows in it.
        share = reference.cpu_ms / reference.median_ms / setting.threads
        return Profile(
            model=study.model,
            model_kwargs=study.model_kwargs,
            fingerprint=study.fingerprint,
            setting=setting,
            segments=study.segments,
            vanishing=study.vanishing,
            thinning=study.thinning,
            rows=tuple(self._row(what, blocks, costs[what], origin) for what, blocks in study.blocks.items()),
            pairs=tuple(
                Pair(term[0], term[1], cost.in_context_ms)
                for term, cost in costs.items()
                if not isinstance(term[0], str)
            ),
            anchors=anchors,
            relative_error=judged_error(anchors),
            conditions=Conditions(reference, round_spread(self._whole), share if self._on_processor else None),
            origin=origin,
            seconds=seconds,
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        )

    def _row(self, what: RowKey, blocks: int, cost: Cost, origin: Origin) -> Row:
        kind = self._kinds[what]
        floor_ms = self._peak.floor_ms(kind.work) if self._peak else None
        figures = (cost.in_context_ms, cost.low_ms, cost.high_ms)
        return Row(*what, blocks, *figures, self._alone[kind.key], floor_ms, origin)

    @property
    def _kinds(self) -> dict[RowKey, Kind]:
        return {kind.row_keys[0]: kind for kind in self._study.kinds.values() if len(kind.row_keys) == 1}

    def _prior(self) -> dict[Term, float]:
        """What each thing took alone; and of two that became one layer, that layer less both."""
        prior: dict[Term, float] = {what: self._alone[kind.key].latency_ms for what, kind in self._kinds.items()}
        for kind in self._study.kinds.values():
            if len(kind.row_keys) > 1:
                *before, second = kind.row_keys
                apart_ms = self._alone[key_of(before)].latency_ms + prior[second]
                prior.setdefault((before[-1], second), self._alone[kind.key].latency_ms - apart_ms)
        return prior

    def _counts(self, network: Network) -> dict[Term, int]:
        single, joined = self._study.counts(network)
        counts: dict[Term, int] = {}
        counts.update(single.items())
        counts.update(joined.items())
        return counts

    def _check_floors(self) -> None:
        for key, alone in self._alone.items():
            check_floor(key, alone, self._peak.floor_ms(self._study.kinds[key].work) if self._peak else None)


def check_floor(key: str, alone: Measurement, floor_ms: float | None) -> None:
    """Raises `ProfileError` when a kind of piece read quicker than its device can be."""
    if floor_ms is not None and alone.latency_ms * BEYOND_BELIEF < floor_ms:
        raise ProfileError(
            f"{key} read {alone.latency_ms:.4f} ms, where the device's peak allows {floor_ms:.4f} ms at the least: its "
            "clock or its synchronization cannot be trusted"
        )


def network_names(study: Study) -> dict[str, Network]:
    """The study's networks by the names under which they are timed."""
    return {f"network {index}": network for index, network in enumerate(study.networks)}


def peak_of(timings: Timings, size: int) -> Peak:
    """The peak rates that the reference and the traffic of matrices of `size` x `size` reach."""
    product_ms, traffic_ms = (timings.measurement(name).p10_ms for name in (REFERENCE, TRAFFIC))
    return Peak(flops_per_ms=2 * size**3 / product_ms, bytes_per_ms=8 * size**2 / traffic_ms)
