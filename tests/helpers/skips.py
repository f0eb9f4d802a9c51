"""Where `CI` is true, a test that is skipped has failed, unless the list here says why it may be.

What is skipped is looked at by nobody, and CI has what can be had: a browser, a database server, every extra.
"""

import os
from collections.abc import Generator, Iterable
from typing import Any

import pytest

# The marker or the name of a test -> the reason.
MAY_SKIP = {
    "gpu": "no machine of CI has a GPU",
    "test_a_gpu_to_train_on_that_is_not_here_is_missed_before_any_work": "a GPU is here",
    "test_published_timings_are_predicted_across_folds": "the timings are others' data, which is not in the repository",
}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _judged((yield), item.keywords)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _judged((yield), ())


def _judged(report: Any, names: Iterable[str]) -> Any:
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if skipped and os.environ.get("CI") == "true" and MAY_SKIP.keys().isdisjoint(names):
        *_, reason = report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{reason}; under CI=true that is a failure, unless tests/helpers/skips.py says why it may be"
    return report
