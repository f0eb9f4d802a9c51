"""Makes a latency table of readings: fits the costs in context, judges the fit, and refuses impossible readings."""

import datetime

from latency.fit import Cost, Term, WholeNetwork, in_context_costs
from latency.roofline import BEYOND_BELIEF, Peak
from latency.study import REFERENCE, TRAFFIC, Kind, Network, RowKey, Study, key_of
from latency.timing import Timings, round_spread
from profiles.errors import ProfileError
from profiles.measurement import Measurement
from profiles.profile import Anchor, Conditions, Origin, Pair, Profile, Row, Setting, judged_error


class Table:
    """Makes the latency table of a study from the readings of its pieces and of its whole networks."""

    def __init__(
        self, study: Study, alone: Timings, whole: Timings, *, peak: Peak | None, on_processor: bool = True
    ) -> None:
        """Checks the readings of the pieces.

        Args:
            study: What was measured.
            alone: The readings of each kind of piece alone, by its key.
            whole: The readings of the whole networks and of the reference, taken side by side.
            peak: The device's peak rates, or None if they are not known.
            on_processor: Whether the processor did the work, so that its processor time shows how much of the
                processor other work took.

        Raises:
            ProfileError: when a piece read quicker than the device can be.
        """
        self._study, self._whole, self._peak, self._on_processor = study, whole, peak, on_processor
        self._alone = {key: alone.measurement(key) for key in study.kinds}
        self._check_floors()

    def profile(self, setting: Setting, origin: Origin, seconds: float) -> Profile:
        """Fits the costs in context and returns the latency table.

        Args:
            setting: Where and how the readings were taken.
            origin: Where the table comes from.
            seconds: How long measuring took.
        """
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
        """The latency of each row alone; for two rows that became one layer, the layer's latency less both rows'."""
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
    """Refuses a reading that is quicker than the device can be.

    Args:
        key: The kind of piece, for the message.
        alone: Its latency alone.
        floor_ms: Its roofline in milliseconds, or None if that is not known.

    Raises:
        ProfileError: when the latency is less than a quarter of the roofline.
    """
    if floor_ms is not None and alone.latency_ms * BEYOND_BELIEF < floor_ms:
        raise ProfileError(
            f"{key} read {alone.latency_ms:.4f} ms, where the device's peak allows {floor_ms:.4f} ms at the least: its "
            "clock or its synchronization cannot be trusted"
        )


def network_names(study: Study) -> dict[str, Network]:
    """Returns the whole networks of a study by the names under which they are timed."""
    return {f"network {index}": network for index, network in enumerate(study.networks)}


def peak_of(timings: Timings, size: int) -> Peak:
    """Returns the peak rates that the reference and the traffic program reached.

    Args:
        timings: Readings of `REFERENCE` and `TRAFFIC`.
        size: The side of the matrices that both ran on.
    """
    product_ms, traffic_ms = (timings.measurement(name).p10_ms for name in (REFERENCE, TRAFFIC))
    return Peak(flops_per_ms=2 * size**3 / product_ms, bytes_per_ms=8 * size**2 / traffic_ms)
