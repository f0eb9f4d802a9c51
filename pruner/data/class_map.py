"""Class maps: which class has which label, where a file says so."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruner.errors import DataError

ClassMap = Mapping[str, int]
"""Name of a class -> its label, from 0."""


def load_class_map(path: Path) -> ClassMap:
    """Reads a class map from a file.

    A text file has the name of one class a line, in the order of their labels. A JSON file has name -> label.

    Raises `DataError` for any other file, and for fewer than two classes. A pickle is never read.
    """
    if path.suffix.lower() in (".pkl", ".pickle"):
        raise DataError(f"{path} is a pickle, which could run anything: write one class name a line, or JSON")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the class map {path} cannot be read: {error}") from error
    classes = _from_json(path, text) if path.suffix.lower() == ".json" else _from_lines(path, text)
    if len(classes) < 2:
        raise DataError(f"the class map {path} names {len(classes)} classes; at least two are needed")
    return classes


def num_classes(classes: ClassMap) -> int:
    """Returns how many outputs a network needs for these labels: the highest label and one more."""
    return max(classes.values()) + 1


def relabelled(path: Path | None, names: Sequence[str]) -> tuple[ClassMap, Sequence[int]]:
    """Gives the classes of a data set their labels, by a class map if there is one.

    Args:
        path: The file of the class map; None leaves the labels as the data set has them.
        names: The names of the data set's own classes, in the order of its own labels.

    Returns:
        (name -> label, the label of each of the data set's own classes). -1 is the label of a class that the class map
        does not name.

    Raises:
        DataError: when the class map cannot be read.

    Example:
        >>> from pruner.data.class_map import relabelled
        >>> classes, labels = relabelled(None, ["cat", "dog"])
        >>> classes, list(labels)
        ({'cat': 0, 'dog': 1}, [0, 1])
    """
    if path is None:
        return {name: label for label, name in enumerate(names)}, range(len(names))
    classes = load_class_map(path)
    return classes, [classes.get(name, -1) for name in names]


def _from_lines(path: Path, text: str) -> ClassMap:
    names = [line.strip() for line in text.rstrip().splitlines()]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise DataError(f"the class map {path} has the line {twice[0]!r} twice")
    return {name: label for label, name in enumerate(names)}


def _from_json(path: Path, text: str) -> ClassMap:
    try:
        values: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"the class map {path} is no JSON: {error}") from error
    if not isinstance(values, dict) or not all(type(label) is int and label >= 0 for label in values.values()):
        raise DataError(f"the class map {path} is no table of names and labels: " + '{"cat": 0, "dog": 1}')
    return values
