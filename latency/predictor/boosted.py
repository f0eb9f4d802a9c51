"""Gradient-boosted trees (Friedman, 2001) as plain arrays.

They are stored as text, are read without scikit-learn, and predict the same bits on every machine.
"""

import base64
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from latency.predictor.tiles import Array

_LEAF: Final = 255
_MOST_BYTES: Final = 1 << 26  # of one array, unpacked
_STEPS: Final = 2047  # of a leaf's value, each way: 4 digits less than the errors, and small when packed
_STRIDE: Final = 4  # steps between two looks at who has arrived

Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]
Floats = np.ndarray[tuple[int], np.dtype[np.float32]]
Whole = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Growth:
    """How trees are grown.

    Attributes:
        rounds: Rounds of boosting; each adds one tree.
        leaves: The most leaves of a tree.
        fewest: The fewest examples in a leaf.
        rate: The learning rate.
        times: How many such ensembles are grown from different seeds; their mean is the prediction.
    """

    rounds: int = 400
    leaves: int = 47
    fewest: int = 8
    rate: float = 0.06
    times: int = 1


@dataclass(frozen=True, eq=False)
class Boosted:
    """Regression trees whose sum is the prediction.

    The trees lie one after another in the arrays, each in preorder. An example goes left at an inner node if its
    feature is not above the node's threshold.

    Attributes:
        split: For each node, the feature that it compares, or 255 for a leaf.
        cut: For each inner node, the number of its threshold among those of its feature.
        counts: For each feature, how many thresholds it has.
        thresholds: The thresholds of all features, one feature after another.
        value: For each leaf, what it adds to the prediction, in units of `unit`.
        unit: The unit of `value`.
        base: The constant that all predictions begin with.
    """

    split: Bytes
    cut: Bytes
    counts: Whole
    thresholds: Floats
    value: np.ndarray[tuple[int], np.dtype[np.int16]]
    unit: float
    base: float

    @classmethod
    def grown(cls, examples: Array, targets: Array, growth: Growth, seed: int) -> "Boosted":
        """Grows trees.

        Args:
            examples: (N, F), the features, F < 255.
            targets: (N,), what the trees are to predict.
            growth: How the trees are grown.
            seed: Seed of the features that each split may use.
        """
        assert examples.shape[1] < _LEAF, "a feature is one byte"
        told = examples.astype(np.float32)
        trees, base = [], 0.0
        for number in range(growth.times):
            model = HistGradientBoostingRegressor(
                max_iter=growth.rounds,
                learning_rate=growth.rate,
                max_leaf_nodes=growth.leaves,
                min_samples_leaf=growth.fewest,
                l2_regularization=1.0,
                max_features=0.3,
                early_stopping=False,
                random_state=seed + number,
            ).fit(told, targets)
            trees += [_preorder(grown.nodes) for (grown,) in model._predictors]
            base += float(model._baseline_prediction.item()) / growth.times
        return _packed_trees(np.concatenate(trees), base, growth.times, examples.shape[1])

    @classmethod
    def constant(cls, value: float) -> "Boosted":
        """Returns a single leaf, which predicts `value` for every example."""
        nothing = np.zeros(0, dtype=np.uint8)
        split, leaf = np.full(1, _LEAF, dtype=np.uint8), np.zeros(1, dtype=np.int16)
        return cls(split, nothing, np.zeros(0, np.int64), np.zeros(0, np.float32), leaf, 1.0, value)

    def __call__(self, examples: Array) -> Array:
        """Predicts N examples: (N, F) -> (N,)."""
        columns = np.ascontiguousarray(examples.T.astype(np.float32)).ravel()
        total = np.zeros(len(examples), dtype=np.int64)
        for root in self._roots:
            total += self._number.take(self._leaves(root, columns, len(examples)))
        # Whole numbers have one sum, in whatever order.
        said: Array = self.base + self.unit * total.astype(np.float64)
        return said

    def raised(self, by: float) -> "Boosted":
        """Returns trees that predict `by` more for every example."""
        return Boosted(self.split, self.cut, self.counts, self.thresholds, self.value, self.unit, self.base + by)

    def _leaves(self, root: int, columns: Floats, count: int) -> Whole:
        """The leaf that each of `count` examples comes to; `columns` (F * count,) holds them feature by feature."""
        found = np.full(count, root)
        moving = np.arange(count)
        at = found
        while len(moving):
            for _ in range(_STRIDE):
                right = columns.take(self._feature.take(at) * count + moving) > self._threshold.take(at)
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
    def _feature(self) -> Whole:
        """The feature of each node; of a leaf any, because both of its children are the leaf itself."""
        return np.where(self._is_leaf, 0, self.split).astype(np.int64)

    @cached_property
    def _threshold(self) -> Floats:
        of_node = np.zeros(len(self.split), dtype=np.float32)
        inner = self._feature[~self._is_leaf]
        of_node[~self._is_leaf] = self.thresholds[(np.cumsum(self.counts) - self.counts)[inner] + self.cut]
        return of_node

    @cached_property
    def _number(self) -> Whole:
        of_node = np.zeros(len(self.split), dtype=np.int64)
        of_node[self._is_leaf] = self.value
        return of_node

    @cached_property
    def _child(self) -> Whole:
        """The left and the right child of each node, side by side; both children of a leaf are the leaf itself."""
        leaf = self._is_leaf.tolist()
        size, right = [1] * len(leaf), [0] * len(leaf)
        for node in range(len(leaf) - 1, -1, -1):
            if not leaf[node]:
                # The left subtree begins right after the node, the right one after it.
                right[node] = node + 1 + size[node + 1]
                size[node] = 1 + size[node + 1] + size[right[node]]
        itself = np.arange(len(leaf))
        left = np.where(self._is_leaf, itself, itself + 1)
        return np.column_stack([left, np.where(self._is_leaf, itself, right)]).ravel()

    @cached_property
    def _roots(self) -> list[int]:
        return list(_roots(self._is_leaf.tolist()))

    def to_record(self) -> dict[str, Any]:
        """Returns the trees as plain data for JSON; `from_record` reads it."""
        return {
            "split": _packed(self.split),
            "cut": _packed(self.cut),
            "counts": self.counts.tolist(),
            "thresholds": _packed(self.thresholds.astype("<f4")),
            # High and low bytes apart: the high ones are few, and pack well.
            "value": _packed(self.value.astype("<i2").view(np.uint8).reshape(-1, 2).T),
            "unit": self.unit,
            "base": self.base,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Boosted":
        """Reads what `to_record` returned. Raises `KeyError`, `TypeError` or `ValueError` when it holds no trees."""
        split, cut = (np.frombuffer(_unpacked(record[name]), dtype=np.uint8) for name in ("split", "cut"))
        counts = np.array(record["counts"], dtype=np.int64)
        thresholds = np.frombuffer(_unpacked(record["thresholds"]), dtype="<f4").astype(np.float32)
        halves = np.frombuffer(_unpacked(record["value"]), dtype=np.uint8)
        if len(halves) % 2:
            raise ValueError("its trees are not whole")
        value = np.ascontiguousarray(halves.reshape(2, -1).T).view("<i2").ravel().astype(np.int16)
        found = cls(split, cut, counts, thresholds, value, float(record["unit"]), float(record["base"]))
        if not found._is_whole():
            raise ValueError("its trees are not whole")
        return found

    @property
    def features(self) -> int:
        """The fewest features that an example may have."""
        return int(self._feature.max()) + 1

    def _is_whole(self) -> bool:
        inner = int((~self._is_leaf).sum())
        sides = (len(self.cut) == inner, len(self.value) == len(self.split) - inner, (self.counts >= 0).all())
        figures = np.isfinite([self.unit, self.base, *self.thresholds]).all()
        if not all(sides) or not figures or self.counts.sum() != len(self.thresholds):
            return False
        if not _ends_with_a_tree(self.split) or self.features > max(len(self.counts), 1):
            return False
        return inner == 0 or bool((self.cut < self.counts[self._feature[~self._is_leaf]]).all())


def _preorder(nodes: Any) -> Any:
    """Returns scikit-learn's nodes of one tree, a structured array, in preorder."""
    order, waiting = [], [0]
    while waiting:
        node = waiting.pop()
        order.append(node)
        if not nodes[node]["is_leaf"]:
            waiting += [int(nodes[node]["right"]), int(nodes[node]["left"])]
    return nodes[order]


def _packed_trees(nodes: Any, base: float, times: int, features: int) -> Boosted:
    """Packs nodes into arrays, with each threshold rounded down to a float32: no float32 lies between the two, so every
    comparison has the same result."""
    leaf = nodes["is_leaf"].astype(bool)
    asked = nodes["feature_idx"][~leaf].astype(np.int64)
    exact = nodes["num_threshold"][~leaf]
    near = exact.astype(np.float32)
    near = np.where(near > exact, np.nextafter(near, np.float32(-np.inf)), near)
    known = [np.unique(near[asked == feature]) for feature in range(features)]
    cut = np.zeros(len(asked), dtype=np.uint8)
    for feature, thresholds in enumerate(known):
        assert len(thresholds) <= _LEAF + 1, "scikit-learn asks about a feature in at most 255 places"
        cut[asked == feature] = np.searchsorted(thresholds, near[asked == feature])
    values = nodes["value"][leaf] / times
    unit = float(np.abs(values).max(initial=0.0)) / _STEPS or 1.0
    return Boosted(
        np.where(leaf, _LEAF, nodes["feature_idx"]).astype(np.uint8),
        cut,
        np.array([len(thresholds) for thresholds in known], dtype=np.int64),
        np.concatenate(known).astype(np.float32),
        np.rint(values / unit).astype(np.int16),
        unit,
        base,
    )


def _roots(leaves: Sequence[bool]) -> Iterator[int]:
    open_places = 0  # subtrees that are still to come in the tree under way
    for node, leaf in enumerate(leaves):
        if open_places == 0:
            yield node
            open_places = 1
        open_places += -1 if leaf else 1


def _ends_with_a_tree(split: Bytes) -> bool:
    """Whether the last node completes its tree: an inner node adds one open place to the balance, a leaf takes one, and
    the balance reaches a new low exactly where a tree ends."""
    balance = np.cumsum(np.where(split == _LEAF, -1, 1))
    return len(balance) > 0 and bool(balance[-1] < min(0, balance[:-1].min(initial=0)))


def _packed(array: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes(), 9)).decode()


def _unpacked(text: str) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(base64.b64decode(text, validate=True), _MOST_BYTES)
    except zlib.error as error:
        raise ValueError(f"its trees are damaged ({error})") from error
    if not unpacker.eof:
        raise ValueError(f"its trees are cut short, or larger than {_MOST_BYTES} bytes")
    return unpacked
