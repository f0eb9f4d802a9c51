"""Libraries that only some data sets need, and that may not be installed."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from pruner.errors import DataError


def need(library: str, dataset: str) -> None:
    """Checks that a library is installed. Raises `DataError`, which says how to install it, when it is not."""
    if importlib.util.find_spec(library) is None:
        how = (
            'pip install "depthfinder[data]"' if library != "tensorflow_datasets" else "pip install tensorflow-datasets"
        )
        raise DataError(f"{dataset} is read with the library {library}, which is not here: {how}")


@contextmanager
def told_as_data_errors(dataset: str, hint: str) -> Iterator[None]:
    """Turns any error of a library that opens a data set into a `DataError`, with the library's words and a hint.

    Args:
        dataset: What the message calls the data set.
        hint: What can be done about the error.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        # Each library raises kinds of its own, down to bare assertions; all of them say that it cannot be opened.
        words = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{dataset} cannot be opened: {words}; {hint}") from error
