"""Walking many paths through the parts of a network, so that common prefixes are computed once."""

import itertools
from collections.abc import Callable, Iterator, MutableMapping, Sequence, Set
from typing import TypeVar

Path = tuple[str, ...]
"""A choice for each part of a network, from the first on. A path over the first parts alone is a prefix."""

State = TypeVar("State")


def walk(
    paths: Sequence[Path],
    start: State,
    step: Callable[[Path, State], State],
    kept: MutableMapping[Path, State],
    wanted: Set[Path],
) -> Iterator[tuple[Path, State]]:
    """Computes the state at the end of each path, with every common prefix computed once.

    Sorted paths form a trie, which is walked depth-first. Besides the states in `kept`, no more states are held at a
    time than there are parts.

    Args:
        paths: The paths, sorted so that paths with a common prefix follow one another.
        start: The state before the first part.
        step: (prefix, the state before its last choice) -> the state behind it. It is called at most once for every
            distinct prefix.
        kept: States behind prefixes that are known already. Those of `wanted` prefixes are added.
        wanted: The prefixes whose states are to be kept.

    Yields:
        Each path with its state, in the order of `paths`.

    Example:
        >>> from pruner.scoring.prefixes import walk
        >>> steps = []
        >>> def step(prefix, state):
        ...     steps.append(prefix)
        ...     return state + prefix[-1]
        >>> list(walk([("a", "b"), ("a", "c")], "", step, {}, frozenset()))
        [(('a', 'b'), 'ab'), (('a', 'c'), 'ac')]
        >>> steps
        [('a',), ('a', 'b'), ('a', 'c')]
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
    """The length of the longest common prefix of two paths."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def worth_keeping(paths: Sequence[Path], sizes: Sequence[int], capacity: int) -> frozenset[Path]:
    """Chooses the prefixes whose states are kept within a capacity.

    The first path is served first. Where a path's prefixes do not all fit, every second one is taken, or every third,
    and so on.

    Args:
        paths: The paths whose prefixes to keep, the most important first.
        sizes: The size of the state behind each part.
        capacity: What the states that are kept may take together, in the unit of `sizes`.
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
