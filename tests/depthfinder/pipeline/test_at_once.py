"""What is wrong with the words alone is said without torch: by what a process has imported, never by the clock."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from depthfinder.cli.app import app
from depthfinder.config.search import GATE_FORM_NAMES
from depthfinder.pipeline.at_once import nearest_to
from pruner.gates.latency_gates import GATE_FORMS

ROOT = Path(__file__).parents[3]
PACKAGES = ("profiles", "pruner", "latency", "search", "depthfinder")
# Each is typed in a process of its own that has imported what the command line does, and nothing else.
TYPE = """
import atexit, json, os, sys
from depthfinder.cli.app import main
for number, words in enumerate(json.load(sys.stdin)):
    child = os.fork()
    if not child:
        os.mkdir(str(number))
        os.chdir(str(number))
        os.mkdir("images")
        for stream, name in ((1, "../stdout"), (2, "../stderr")):
            os.dup2(os.open(f"{name}{number}", os.O_WRONLY | os.O_CREAT), stream)
        sys.argv = ["depthfinder", *words.split()]
        atexit.register(lambda: print("with torch" if "torch" in sys.modules else "without torch"))
        main()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
WRONG = (
    ("describe --model resnet18 --img-size x", 2, "--img-size: 'x' is no size of images"),
    ("describe --model resnet18 --model-kwargs depth", 2, "not of the form name=value"),
    ("nosuch", 2, "No such command 'nosuch'"),
    ("run --nosuch", 2, "No such option: --nosuch"),
    ("run --budget-ms 3,2", 2, "is not a positive number"),
    ("run --dtype fp99", 2, "'fp99' is not one of"),
    ("run --device ort_cpu", 3, "no device is called 'ort_cpu'; nearest: ort-cpu"),
    ("run --budget-ms ort-cpu=3,abacus=4", 3, "no device is called 'abacus'"),
    ("run --strategy best", 2, "no strategy is called 'best'; nearest: "),
    ("run --gate-form best", 2, "no form of the gate is called 'best'; nearest: "),
    ("run --lambda-schedule best", 2, "no lambda schedule is called 'best'; nearest: "),
    ("run --supernet-sampling best", 2, "no way of drawing plans is called 'best'; nearest: "),
    ("run --train-device gpu", 2, "--train-device: gpu: there are cpu, cuda"),
    ("run --checkpoint none.pt", 3, "there is no file none.pt"),
    ("run --profile none.json", 1, "there is no profile none.json"),
    ("run --data-dir image --budget-ms 3", 3, "there is no folder image; nearest in .: images"),
    ("run --storage nosuch://x", 3, "a storage is sqlite:///FILE.db"),
    ("search --sampler best", 2, "no sampler is called 'best'"),
    ("pareto --strategy gate", 2, "a front is searched by --strategy optuna alone"),
    ("report none", 3, "none holds no finished run"),
    ("dashboard none", 3, "none holds no finished search"),
    ("measure none.onnx", 3, "there is no none.onnx"),
    ("measure --device abacus none.onnx", 3, "no device is called 'abacus'"),
    ("profile --device abacus", 3, "no device is called 'abacus'"),
    ("profile --model-kwargs depth", 2, "not of the form name=value"),
    ("profile --import none.json", 1, "there are no results none.json"),
    ("profiles show none.json", 1, "there is no profile none.json"),
    ("profiles verify none.json", 1, "there is no profile none.json"),
    ("profiles diff none.json other.json", 1, "there is no profile none.json"),
    ("predictor fit --rows none.csv --device d --out p.json", 3, "there is no none.csv"),
    ("predictor predict --predictor none.json --rows none.csv --out p.csv", 3, "there is no predictor none.json"),
    ("predictor evaluate --rows none.csv --device d", 3, "there is no none.csv"),
    ("sparsify --checkpoint none.pt", 3, "there is no file none.pt"),
    ("sparsify --device abacus", 3, "no device is called 'abacus'"),
)


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """A folder with what was printed, by the number of the words; and the exit statuses."""
    folder = tmp_path_factory.mktemp("typed")
    lines = json.dumps([words for words, *_ in WRONG])
    done = subprocess.run([sys.executable, "-c", TYPE], cwd=folder, input=lines, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder, [int(line) for line in done.stdout.split()]


@pytest.mark.parametrize(("number", "status", "message"), [(n, *row[1:]) for n, row in enumerate(WRONG)])
def test_what_is_wrong_with_the_words_is_said_without_torch(
    typed: tuple[Path, list[int]], number: int, status: int, message: str
) -> None:
    folder, statuses = typed
    said = (folder / f"stderr{number}").read_text()
    assert statuses[number] == status, said
    assert message in re.sub(r"[\s│]+", " ", said)
    assert (folder / f"stdout{number}").read_text() == "without torch\n"
    assert [path.name for path in (folder / str(number)).iterdir()] == ["images"]


def test_the_forms_of_the_gate_are_those_that_are_offered() -> None:
    assert tuple(GATE_FORMS) == GATE_FORM_NAMES


def test_what_is_nearest_is_of_the_same_folder(tmp_path: Path) -> None:
    (tmp_path / "deit.pt").touch()
    assert nearest_to(tmp_path / "diet.pt") == f"; nearest in {tmp_path}: deit.pt"
    assert nearest_to(tmp_path / "nothing-like-it.onnx") == ""
    assert nearest_to(tmp_path / "nowhere" / "deit.pt") == ""


def commands(group: typer.core.TyperGroup, path: tuple[str, ...] = ()) -> dict[str, typer.core.TyperCommand]:
    found = {}
    for name, command in group.commands.items():
        found[" ".join((*path, name))] = command
        if isinstance(command, typer.core.TyperGroup):
            found |= commands(command, (*path, name))
    return found


COMMANDS = commands(get_command(app))


def letters(text: str) -> str:
    """What a person reads, whatever the layout."""
    return re.sub(r"[\s│╭╮╰╯─]+", "", text)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_printed_as_it_was_written(name: str) -> None:
    command = COMMANDS[name]
    flag = "--help-all" if any(param.name == "help_all" for param in command.params) else "--help"
    shown = CliRunner().invoke(app, [*name.split(), flag], env={"COLUMNS": "3000"}).output
    texts = [command.callback.__doc__ or "" if command.callback else command.help or ""]
    texts += [(param.help or "").replace("\\[", "[") for param in command.params]
    assert all(letters(text) in letters(shown) for text in texts)


def test_what_stands_in_brackets_is_printed() -> None:
    shown = CliRunner().invoke(app, ["dashboard", "--help"]).output
    assert 'pip install "depthfinder[dashboard]"' in shown
