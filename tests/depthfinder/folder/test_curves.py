"""Curves of a training: the table they are kept in, and their picture."""

from dataclasses import replace

from depthfinder.folder.curve_file import as_csv, read_csv
from depthfinder.pipeline.curves import line
from depthfinder.report.pictures import training_curve
from pruner.training.curve import Epoch

FIRST = Epoch(index=1, epochs=3, loss=2.302585092994046, lr=5e-4, accuracy=0.1, seconds=61.5, images_per_s=1 / 3)
PLAIN = (FIRST, replace(FIRST, index=2, loss=1e-17), replace(FIRST, index=3, accuracy=1.0))
CLOSING = tuple(
    replace(one, note='of "lambda", and more', lam=lam) for one, lam in zip(PLAIN, (1 / 3, 0.1, 0.0), strict=True)
)


def test_a_table_of_epochs_reads_back_as_they_were() -> None:
    for epochs in (PLAIN, CLOSING, ()):
        assert read_csv(as_csv(epochs)) == epochs


def test_a_table_without_lambda_is_of_epochs_without_it() -> None:
    before = "\n".join(row.rpartition(",")[0] for row in as_csv(PLAIN).splitlines())
    assert "lam" not in before
    assert read_csv(before) == PLAIN


def test_a_picture_shows_lambda_where_gates_close_and_the_same_epochs_are_the_same_text() -> None:
    assert ">lambda<" in training_curve(CLOSING)
    assert ">lambda<" not in training_curve(PLAIN)
    assert training_curve(PLAIN) == training_curve(PLAIN)


def test_a_line_says_how_long_it_will_take() -> None:
    assert line("supernet", FIRST).endswith("2:03 left")
