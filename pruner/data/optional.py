"""Libraries that some data sets are read with, and that need not be here."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from pruner.errors import DataError


def need(library: str, dataset: str) -> None:
    """Raises `DataError`, which says how to install it, when `library` is not here."""
    if importlib.util.find_spec(library) is None:
        how = (
            'pip install "depthfinder[data]"' if library != "tensorflow_datasets" else "pip install tensorflow-datasets"
        )
        raise DataError(f"{dataset} is read with the library {library}, which is not here: {how}")


@contextmanager
def told_as_data_errors(dataset: str, hint: str) -> Iterator[None]:
    """What a library has against a data set that it is asked to open, as a `DataError` with its words and a hint."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        # Each library raises kinds of its own, down to bare assertions; all of them say that it cannot be opened.
        words = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{dataset} cannot be opened: {words}; {hint}") from error
