"""Optuna with its log reduced to warnings."""

from collections.abc import Iterator
from contextlib import contextmanager

import optuna


@contextmanager
def quietly() -> Iterator[None]:
    """A context in which Optuna does not announce every study that is made."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
