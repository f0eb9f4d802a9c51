"""Says where a latency table came from and how far it may be off, for the log, the report and the result."""

from profiles.profile import Profile
from profiles.two_sums import Bound
from pruner.choices.plan import Plan


def origin_of(profile: Profile) -> str:
    """Returns a sentence or two: whether and where the table was measured, when, by what, and how far it may be off.

    Example:
        >>> from depthfinder.testing.samples import chain_and_table
        >>> _, table = chain_and_table()
        >>> origin_of(table).partition("; ")[2]
        'on whole networks that took no part in the fit it was off by 0.0% or less in nine of ten.'
    """
    made, off = profile.created, f"{profile.relative_error:.1%}"
    judged = f"on whole networks that took no part in the fit it was off by {off} or less in nine of ten"
    expects = f"nine networks of ten are expected within {off} of it"
    if not profile.is_predicted:
        if profile.origin == "imported":
            return f"Measured elsewhere, on {profile.setting.hardware}, and read in {made}; {judged}."
        return f"Measured {made}; {judged}."
    if not profile.anchors:
        low_ms, high_ms = profile.interval_ms(Plan(profile.model))
        expects = f"the uncut network is expected between {low_ms:.3f} and {high_ms:.3f} ms (90 %)"
        bound = f" Of the uncut network {Bound.of(profile).text}." if profile.has_host else ""
        judged = ", ".join(f"{one.of} {one.error:.1%}" for one in profile.judged)
        judged = f" By public measurements, off in the mean: {judged}." if judged else ""
        return (
            f"Modelled {made}, nothing measured: the predictor {profile.setting.runtime!r} of "
            f"{profile.setting.hardware}, fitted to published timings of operators, says it; {expects}.{bound}{judged}"
        )
    counted = sum(row.origin != "modelled" for row in profile.rows)
    return (
        f"Predicted {made} from the tables of other networks and sizes, and scaled to the uncut network, which was "
        f"measured; {counted} of {len(profile.rows)} rows measured; {expects}."
    )
