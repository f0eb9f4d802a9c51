"""The notes of the dashboard, in its markdown: a plan in words, its figures, its verdict."""

import re
from collections.abc import Mapping, Sequence

from pruner.choices.choice import CHOICES
from search.dashboard.reviewed import ReviewedPlan


def as_text(name: str) -> str:
    """`name` as markdown that shows it letter by letter, on one line, whatever characters it has.

    CommonMark lets every ASCII punctuation character be escaped. The dashboard shows raw HTML as text by itself, but
    would follow links, pictures and tables.
    """
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(name.split()))


def table(rows: Sequence[tuple[str, str]]) -> str:
    """A markdown table with a row for each (label, figure); both are markdown already."""
    return "\n".join(["| | |", "|---|---|", *(f"| {what} | {figure} |" for what, figure in rows)])


def in_words(reviewed: ReviewedPlan, blocks: Sequence[str]) -> str:
    """The choices of a plan as a list: a line for each choice, with the blocks that have it in running order."""
    lines = []
    for choice in dict.fromkeys((*CHOICES, *reviewed.plan.choices.values())):
        names = [name for name in blocks if reviewed.plan.choice_of(name) == choice]
        if names:
            word = CHOICES[choice].label if choice in CHOICES else choice
            lines.append(f"- **{as_text(word)}** ({len(names)} of {len(blocks)}): {', '.join(map(as_text, names))}")
    return "\n".join(lines)


def figures(reviewed: ReviewedPlan) -> list[tuple[str, str]]:
    """(label, figure) for everything that is known of a plan."""
    rows = [
        ("score", f"{reviewed.score:.6g}"),
        ("predicted latency", f"{reviewed.latency_ms:.3f} ms"),
        ("budget", f"{reviewed.budget_ms:.3f} ms"),
    ]
    if reviewed.measured is not None:
        found = reviewed.measured
        interval = f"{found.low_ms:.3f} to {found.high_ms:.3f} ms"
        rows.append(("measured latency", f"{found.latency_ms:.3f} ms (95 % interval {interval}, {found.quality})"))
    if reviewed.ratio is not None:
        by = "as measured" if reviewed.measured is not None else "by the table"
        rows.append(("ratio to the baseline", f"{reviewed.ratio:.3f}, {by}"))
    details = reviewed.details
    if details.accuracy is not None:
        rows.append(("accuracy", f"{details.accuracy:.2%}"))
    if details.cross_entropy is not None:
        rows.append(("cross-entropy", f"{details.cross_entropy:.4f}"))
    if details.agreement is not None:
        rows.append(("agreement with the baseline", f"{details.agreement:.2%}"))
    if details.distance is not None:
        rows.append(("distance from the baseline's outputs", f"{details.distance:.4f}"))
    if details.images is not None:
        rows.append(("images", str(details.images)))
    if details.how is not None:
        rows.append(("proposed by", as_text(details.how)))
    return [*rows, ("evaluated as number", str(reviewed.number))]


def picture(url: str) -> str:
    """The block map at `url`, in markdown."""
    return f"![block map]({url})"


def trial_note(
    reviewed: ReviewedPlan, blocks: Sequence[str], ruled_out_by: Mapping[str, float], picture_url: str
) -> str:
    """The note of one plan.

    Args:
        reviewed: The plan and its figures.
        blocks: The names of the blocks, in running order.
        ruled_out_by: Constraint -> its excess; each above 0 keeps the plan out of the running.
        picture_url: Where the block map is.
    """
    parts = [f"### {as_text(reviewed.verdict[0].upper() + reviewed.verdict[1:])}"]
    broken = [name for name, excess in ruled_out_by.items() if excess > 0]
    if broken:
        parts.append(f"Out of the running, hence the state *Pruned*: {', '.join(map(as_text, broken))}.")
    return "\n\n".join([*parts, picture(picture_url), table(figures(reviewed)), in_words(reviewed, blocks)])


def winner_note(reviewed: ReviewedPlan, trial: int, blocks: Sequence[str], picture_url: str) -> str:
    """The part of the study's note about the winner, which is shown as trial number `trial`."""
    heading = f"### The winner: trial {trial}, {as_text(reviewed.finding)}"
    return "\n\n".join([heading, picture(picture_url), table(figures(reviewed)), in_words(reviewed, blocks)])


def study_note(searched: Sequence[tuple[str, str]], count: int, num_ruled_out: int, winner: str | None) -> str:
    """The note of the whole review.

    Args:
        searched: (label, plain text) for what was searched for.
        count: How many plans were evaluated.
        num_ruled_out: How many of them are out of the running.
        winner: The text from `winner_note`; None where there is no winner.
    """
    facts = [(as_text(what), as_text(text)) for what, text in searched]
    return "\n\n".join(
        [
            "**This is a copy** of a search, to be looked at: whatever is changed or deleted here, the run stays.",
            table([*facts, ("plans evaluated", str(count)), ("out of the running", str(num_ruled_out))]),
            *([] if winner is None else [winner]),
            "*Complete* is a plan within the budget: as measured, or by the table where it was not measured. *Pruned*, "
            "grey in the plots, is one that is out of the running; it was evaluated in full, and its score is true. "
            "Each trial's note says why. Times of day are those of the copying.",
        ]
    )
