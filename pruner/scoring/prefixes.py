"""Walking many paths through a network of segments, so that what paths begin with in common is computed once."""

import itertools
from collections.abc import Callable, Iterator, MutableMapping, Sequence, Set
from typing import TypeVar

Path = tuple[str, ...]
"""A choice for each segment of a network, from the first on; a shorter one is a prefix."""

State = TypeVar("State")


def walk(
    paths: Sequence[Path],
    start: State,
    step: Callable[[Path, State], State],
    kept: MutableMapping[Path, State],
    wanted: Set[Path],
) -> Iterator[tuple[Path, State]]:
    """Each path with the state at its end, in the order given: sorted, paths are a trie that is walked depth-first.

    `step` gives the state behind a prefix from the one before its last choice. It is called once at most for every
    distinct prefix, and not at all for those that `kept` makes superfluous. States of the prefixes that are `wanted`
    are put into `kept` as they come; of the others no more are held at a time than there are segments.
    """
    held = {0: start}
    for path, following in zip(paths, [*paths[1:], ()], strict=True):
        shared = common(path, following)
        depth = next(d for d in range(len(path), -1, -1) if d in held or path[:d] in kept)
        state = held[depth] if depth in held else kept[path[:depth]]
        while depth < len(path):
            depth += 1
            prefix = path[:depth]
            state = step(prefix, state)
            if prefix in wanted:
                kept[prefix] = state
            if depth <= shared:
                held[depth] = state
        yield path, state
        held = {depth: state for depth, state in held.items() if depth <= shared}


def common(one: Path, other: Path) -> int:
    """How many choices two paths begin with in common."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def worth_keeping(paths: Sequence[Path], sizes: Sequence[int], capacity: int) -> frozenset[Path]:
    """Prefixes of `paths` whose states fit into `capacity`, the first path served first.

    `sizes` has the size of the state behind each segment. Where a path's prefixes do not all fit, every second one is
    taken, or every third, and so on.
    """
    wanted: set[Path] = set()
    for path in paths:
        for stride in range(1, len(path) + 1):
            depths = range(stride, len(path) + 1, stride)
            new = {depth: path[:depth] for depth in depths if path[:depth] not in wanted}
            size = sum(sizes[depth - 1] for depth in new)
            if size <= capacity:
                wanted.update(new.values())
                capacity -= size
                break
    return frozenset(wanted)
