"""The documents are held to what stands: the files they name are there, the commands they show are taken."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from depthfinder.cli.app import app

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "recipes").glob("*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_file_that_a_document_names_is_there(document: Path) -> None:
    text = document.read_text()
    named = re.findall(r"`((?:depthfinder|latency|profiles|pruner|search|tests|benchmarks|recipes)/[\w/.-]*)`", text)
    named += re.findall(r"\]\(((?!http)[^)#]+)", text) + re.findall(r'src="([^"]+)"', text)
    missing = [name for name in named if not ((ROOT / name).exists() or (document.parent / name).exists())]
    assert not missing


def commands() -> list[str]:
    text = "\n".join(path.read_text() for path in DOCUMENTS)
    return sorted(set(re.findall(r"^ {4}(depthfinder [^\n]+)$", text, re.MULTILINE)))


@pytest.mark.parametrize("command", commands())
def test_every_option_that_a_document_shows_is_taken(command: str) -> None:
    name, *words = shlex.split(command, comments=True)[1:]
    path = [name, words.pop(0)] if name in ("profiles", "predictor") else [name]
    shown = [CliRunner().invoke(app, [*path, flag], env={"COLUMNS": "200"}).output for flag in ("--help-all", "--help")]
    known = "".join(shown)
    options = [word for word in words if word.startswith("-")]
    assert all(re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", known) for option in options)


@pytest.mark.parametrize(
    ("document", "benchmark"),
    [
        *(("README.md", benchmark) for benchmark in ("demo", "coverage")),
        *(
            ("docs/latency.md", benchmark)
            for benchmark in ("in_context", "steadiness", "tables", "merge_speedup", "merge_time")
        ),
        *(
            ("docs/search.md", benchmark)
            for benchmark in (
                "search_quality",
                "search_quality_six",
                "search_quality_six_rugged_two",
                "scale",
                "evaluator_subsets",
                "evaluator_large",
                "budgets",
            )
        ),
        *(("docs/fitting.md", f"fitting_{part}") for part in ("untrained", "ffns", "trained", "search", "large")),
        *(
            ("docs/training.md", benchmark)
            for benchmark in ("progressive", "ranking", "training_cost", "learning_rates")
        ),
        *(
            ("docs/predictor.md", f"predictor_{part}")
            for part in ("folds", "conv", "networks", "sign", "transfer", "pieces", "cost")
        ),
        *(("docs/predictor.md", f"whole_networks_{part}") for part in ("figures", "throughput")),
        ("recipes/README.md", "throughput_cpu"),
        ("docs/sparsity.md", "masks"),
        *(("docs/strategies.md", benchmark) for benchmark in ("gate", "width")),
    ],
)
def test_the_documents_quote_what_the_benchmarks_printed(document: str, benchmark: str) -> None:
    lines = (ROOT / f"benchmarks/results/{benchmark}.md").read_text().splitlines()
    printed = [line for line in lines if line.startswith("|")] or lines
    assert printed
    assert all(line in (ROOT / document).read_text() for line in printed)


def test_the_readme_says_how_true_the_table_is() -> None:
    lines = (ROOT / "benchmarks/results/in_context.md").read_text().splitlines()
    (summary,) = [line for line in lines if line.startswith("Of all")]
    assert summary in (ROOT / "README.md").read_text()


def test_the_recipes_hours_are_those_that_were_estimated() -> None:
    printed = (ROOT / "benchmarks/results/throughput_cpu.md").read_text()
    table = (ROOT / "recipes/README.md").read_text()
    estimated = re.findall(r"^\| `(\w+\.yaml)` \|.*\| ([\d,.]+) \|$", printed, re.MULTILINE)
    told = re.findall(
        r"^\| `recipes/(\w+\.yaml)` \|.*\| ([\d,.]+) on one CPU core, an estimate \|$", table, re.MULTILINE
    )
    assert estimated
    assert sorted(told) == sorted(estimated)
