"""What the network of a plan runs through, as the rows of a latency table."""

from collections.abc import Iterable, Iterator, Set
from typing import Final, Protocol

THINNED: Final = ", thinned"
KEPT: Final = "keep"


class Stretch(Protocol):
    """As much of a segment as has to be known here."""

    @property
    def name(self) -> str: ...

    @property
    def is_block(self) -> bool: ...


class Chooses(Protocol):
    """As much of a plan as has to be known here."""

    def choice_of(self, block: str) -> str: ...


def thinned(choice: str) -> str:
    """The row of a choice where it stands behind a block that thins the tokens: it runs on fewer of them."""
    return choice + THINNED


def unthinned(row: str) -> str:
    """The choice that a row is of, wherever it stands."""
    return row.removesuffix(THINNED)


def rows_of(
    segments: Iterable[Stretch], plan: Chooses, vanishing: Set[str], thinning: Set[str]
) -> Iterator[tuple[str, str]]:
    """(segment, row) for whatever is left of a network in running order.

    A choice in `vanishing` leaves nothing. The first one in `thinning` leaves fewer tokens to all that stands behind,
    blocks or not; a later one there does what a kept block does.
    """
    is_thinned = False
    for segment in segments:
        choice = plan.choice_of(segment.name) if segment.is_block else KEPT
        if is_thinned and choice in thinning:
            choice = KEPT
        if choice in vanishing:
            continue
        yield segment.name, thinned(choice) if is_thinned else choice
        is_thinned = is_thinned or choice in thinning
