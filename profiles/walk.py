"""The network of a plan as the rows of a latency table."""

from collections.abc import Iterable, Iterator, Set
from typing import Final, Protocol

THINNED: Final = ", thinned"
KEPT: Final = "keep"


class Stretch(Protocol):
    """A segment, as far as it has to be known here."""

    @property
    def name(self) -> str:
        """The name of the segment; of a block, its module path."""

    @property
    def is_block(self) -> bool:
        """Whether the segment is a block."""


class Chooses(Protocol):
    """A plan, as far as it has to be known here."""

    def choice_of(self, block: str) -> str:
        """The choice for one block."""


def thinned(choice: str) -> str:
    """The row of a choice behind a block that thins the tokens, where it runs on fewer of them."""
    return choice + THINNED


def unthinned(row: str) -> str:
    """The choice of a row, whether or not it stands behind a block that thins the tokens."""
    return row.removesuffix(THINNED)


def rows_of(
    segments: Iterable[Stretch], plan: Chooses, vanishing: Set[str], thinning: Set[str]
) -> Iterator[tuple[str, str]]:
    """Yields (segment, row) for everything that the network of a plan runs, in running order.

    The first block that thins the tokens leaves fewer of them to all that stands behind, blocks or not; a later one is
    as if it were kept.

    Args:
        segments: The stretches of the network, in running order.
        plan: The choice for each block.
        vanishing: The choices that leave nothing of a block.
        thinning: The choices that thin the tokens.

    Example:
        >>> from profiles.profile import Choices, Segment
        >>> segments = [Segment("stem", "s", False), Segment("blocks.0", "b", True), Segment("blocks.1", "b", True)]
        >>> list(rows_of(segments, Choices({"blocks.0": "drop"}), {"drop"}, set()))
        [('stem', 'keep'), ('blocks.1', 'keep')]
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
