"""Extremely randomized trees (Geurts, Ernst and Wehenkel, 2006) as plain arrays: stored as text, read without
scikit-learn, and the same to the last bit wherever they are read."""

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor

from latency.predictor.kinds import Array

_LEAF: Final = 255
_MOST_BYTES: Final = 1 << 28  # of one array, unpacked
_STRIDE: Final = 4  # steps between two looks at who has arrived


@dataclass(frozen=True, eq=False)
class Forest:
    """Regression trees of one target, one after the other, each in preorder.

    A node's `split` is the feature that it asks about, or 255 for a leaf; its `number` the threshold, or the leaf's
    value: an example goes left where its feature is not above the threshold. Examples are float32, as are the numbers.
    """

    split: np.ndarray[tuple[int], np.dtype[np.uint8]]
    number: np.ndarray[tuple[int], np.dtype[np.float32]]

    @classmethod
    def grown(cls, examples: Array, targets: Array, *, trees: int, fewest: int, seed: int) -> "Forest":
        """From examples (N, F) with F < 255 and targets (N,); each leaf holds at least `fewest` of them."""
        assert examples.shape[1] < _LEAF, "a feature is one byte"
        estimator = ExtraTreesRegressor(
            trees, max_features=1.0, min_samples_leaf=fewest, random_state=seed, n_jobs=-1
        ).fit(examples.astype(np.float32), targets)
        grown = [one.tree_ for one in estimator.estimators_]
        split = np.concatenate([np.where(tree.feature < 0, _LEAF, tree.feature) for tree in grown])
        number = np.concatenate([_numbers(tree) for tree in grown])
        return cls(split.astype(np.uint8), number)

    def __call__(self, examples: Array) -> tuple[Array, Array]:
        """(N, F) -> the mean over the trees (N,), and their standard deviation (N,).

        The mean is of exp(-target), brought back: for logarithms of times that is the harmonic mean of times, which
        lies nearer than their mean to what has the least relative error.
        """
        columns = np.ascontiguousarray(examples.T.astype(np.float32)).ravel()
        inverse, total, squares = (np.zeros(len(examples)) for _ in range(3))
        for root in self._roots:
            value = self.number.take(self._leaves(root, columns, len(examples))).astype(np.float64)
            inverse += np.exp(-value)
            total += value
            squares += value * value
        trees = len(self._roots)
        variance = np.maximum(squares / trees - (total / trees) ** 2, 0.0)
        return -np.log(inverse / trees), np.sqrt(variance)

    def _leaves(
        self, root: int, columns: np.ndarray[Any, np.dtype[np.float32]], count: int
    ) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The leaf that each of `count` examples comes to; `columns` (F * count,) holds them feature by feature."""
        found = np.full(count, root)
        moving = np.arange(count)
        at = found
        while len(moving):
            for _ in range(_STRIDE):
                right = columns.take(self._feature.take(at) * count + moving) > self.number.take(at)
                at = self._child.take(2 * at + right)
            arrived = self._is_leaf.take(at)
            found[moving[arrived]] = at[arrived]
            moving, at = moving[~arrived], at[~arrived]
        return found

    @cached_property
    def _is_leaf(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        leaves: np.ndarray[Any, np.dtype[np.bool_]] = self.split == _LEAF
        return leaves

    @cached_property
    def _feature(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Of each node; a leaf asks about any, for it stays where it is."""
        return np.where(self._is_leaf, 0, self.split).astype(np.int64)

    @cached_property
    def _child(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Of each node the left and the right child, one after the other; of a leaf itself."""
        node = np.arange(len(self.split))
        left, right = np.where(self._is_leaf, node, node + 1), np.where(self._is_leaf, node, self._right)
        return np.column_stack([left, right]).ravel()

    @cached_property
    def _right(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Where each node's right subtree begins: after the left one, which begins right after the node."""
        leaf = self._is_leaf.tolist()
        size, right = [1] * len(leaf), [0] * len(leaf)
        for node in range(len(leaf) - 1, -1, -1):
            if not leaf[node]:
                right[node] = node + 1 + size[node + 1]
                size[node] = 1 + size[node + 1] + size[right[node]]
        return np.array(right)

    @cached_property
    def _roots(self) -> list[int]:
        roots = []
        open_places = 0  # subtrees that are still to come in the tree under way
        for node, leaf in enumerate(self._is_leaf.tolist()):
            if open_places == 0:
                roots.append(node)
                open_places = 1
            open_places += -1 if leaf else 1
        return roots

    def to_record(self) -> dict[str, str]:
        """For JSON; `from_record` reads it back."""
        return {"split": _packed(self.split), "number": _packed(self.number.astype("<f4"))}

    @classmethod
    def from_record(cls, record: Mapping[str, str]) -> "Forest":
        """Raises `ValueError` for what is no forest."""
        split = np.frombuffer(_unpacked(record["split"]), dtype=np.uint8)
        number = np.frombuffer(_unpacked(record["number"]), dtype="<f4").astype(np.float32)
        if len(split) != len(number) or not np.isfinite(number).all() or not _ends_with_a_tree(split):
            raise ValueError("its trees are not whole")
        return cls(split, number)

    @property
    def features(self) -> int:
        """How many features an example needs to have at the least."""
        return int(self._feature.max()) + 1


def _numbers(tree: Any) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Thresholds and leaf values as float32. A float32 is not above a threshold exactly if it is not above the greatest
    float32 that is not above the threshold."""
    leaf = tree.feature < 0
    assert (tree.children_left[~leaf] == np.flatnonzero(~leaf) + 1).all(), "scikit-learn stores trees in preorder"
    thresholds = tree.threshold.astype(np.float32)
    thresholds = np.where(thresholds > tree.threshold, np.nextafter(thresholds, np.float32(-np.inf)), thresholds)
    numbers: np.ndarray[tuple[int], np.dtype[np.float32]] = np.where(
        leaf, tree.value.ravel().astype(np.float32), thresholds
    )
    return numbers


def _ends_with_a_tree(split: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> bool:
    """Whether the last node is the last of its tree: an inner node opens a place more than it fills, a leaf one less,
    and every tree that ends takes the balance to where it never was."""
    balance = np.cumsum(np.where(split == _LEAF, -1, 1))
    return len(balance) > 0 and bool(balance[-1] < min(0, balance[:-1].min(initial=0)))


def _packed(array: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(zlib.compress(array.tobytes(), 6)).decode()


def _unpacked(text: str) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(base64.b64decode(text, validate=True), _MOST_BYTES)
    except zlib.error as error:
        raise ValueError(f"its trees are damaged ({error})") from error
    if not unpacker.eof:
        raise ValueError(f"its trees are cut short, or larger than {_MOST_BYTES} bytes")
    return unpacked
