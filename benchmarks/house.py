"""How the house stands: who imports whom in each package, on how many floors, and what is declared more than once.

    python benchmarks/house.py --before COMMIT

Counted are import statements of modules of ours, those inside functions too; not those that types alone need, and not
the functions that `depthfinder/folder/stages.py` names by where they are. A module stands one floor above the highest
that it imports. A setting is declared more than once when fields of the same name stand in two records that the command
line, `args.yaml` or a training goes by. The table goes to `benchmarks/results/`; `--before` adds the same of another
state of the repository.
"""

import argparse
import ast
import io
import shutil
import statistics
import subprocess
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.tables import markdown_table, publish

ROOT: Final = Path(__file__).parent.parent
PACKAGES: Final = ("profiles", "pruner", "latency", "search", "depthfinder")
# Where settings are declared: in the state that `--before` names, and now.
SETTINGS: Final = (
    "depthfinder/options.py",
    "depthfinder/data_options.py",
    "depthfinder/training_options.py",
    "depthfinder/cli/sparsify.py",
    "depthfinder/arguments.py",
    "depthfinder/data_arguments.py",
    "depthfinder/training_arguments.py",
    "depthfinder/sparsify_arguments.py",
    "depthfinder/cli/requests.py",
    "depthfinder/config/*.py",
    "pruner/data/augmentation.py",
    "pruner/data/variation.py",
    "pruner/training/settings.py",
    "latency/mode.py",
)
# Made of settings, not declaring any: one training, and the numbers that it computes in.
WHAT_THEY_COME_TO: Final = ("TrainSettings", "Precision")
RECORDS: Final = ("Mode", "Augmentation", "Evaluation", "Optimizing", "Mixing", "Processes")


@dataclass(frozen=True)
class House:
    """What was counted of one state.

    Attributes:
        files: package -> how many files it has.
        arrows: package -> imports of its modules among themselves.
        floors: package -> how many stand on one another.
        circles: package -> modules that import one another in a circle.
        median_lines: of all files.
        longest: the file with most lines, and how many.
        settings: how many names settings have.
        declared_again: how often such a name stands again in another record.
    """

    files: Mapping[str, int]
    arrows: Mapping[str, int]
    floors: Mapping[str, int]
    circles: Mapping[str, int]
    median_lines: float
    longest: tuple[str, int]
    settings: int
    declared_again: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", help="a commit to count too")
    asked = parser.parse_args()
    found = {"now": counted(ROOT)}
    if asked.before:
        with tempfile.TemporaryDirectory() as folder:
            git = shutil.which("git") or "git"
            packed = subprocess.run([git, "archive", asked.before], cwd=ROOT, check=True, capture_output=True)
            with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
                archive.extractall(folder, filter="data")
            found = {asked.before: counted(Path(folder))} | found
    publish("house", lines_of(found))


def counted(root: Path) -> House:
    """What is counted of the repository at `root`."""
    graphs = {package: graph_of(root, package) for package in PACKAGES}
    files = [path for package in PACKAGES for path in (root / package).rglob("*.py")]
    sizes = {path: len(path.read_text().splitlines()) for path in files}
    longest = max(sizes, key=lambda path: sizes[path])
    names = Counter(name for pattern in SETTINGS for path in sorted(root.glob(pattern)) for name in fields_in(path))
    return House(
        files={package: len(graph) for package, graph in graphs.items()},
        arrows={package: sum(map(len, graph.values())) for package, graph in graphs.items()},
        floors={package: max(floors_of(graph).values()) + 1 for package, graph in graphs.items()},
        circles={package: sum(len(circle) > 1 for circle in circles_in(graph)) for package, graph in graphs.items()},
        median_lines=statistics.median(sizes.values()),
        longest=(longest.relative_to(root).as_posix(), sizes[longest]),
        settings=len(names),
        declared_again=sum(times - 1 for times in names.values()),
    )


def graph_of(root: Path, package: str) -> dict[str, set[str]]:
    """Module -> the modules of the same package that it imports."""
    modules = {module_of(path, root): path for path in sorted((root / package).rglob("*.py"))}
    return {name: {other for other in imported(path, modules) if other != name} for name, path in modules.items()}


def module_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    """The modules among these that a file imports."""
    for node in nodes_that_run(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [name for name in names if name in modules]
            yield from found
            if len(found) < len(names) and node.module in modules:
                yield node.module


def nodes_that_run(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes, but for those under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from nodes_that_run(node)


def circles_in(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """The strongly connected parts of a graph, by what each reaches."""
    reached = {name: reach(name, graph) for name in graph}
    parts, seen = [], set()
    for name in graph:
        if name not in seen:
            part = {name} | {other for other in reached[name] if name in reached[other]}
            seen |= part
            parts.append(part)
    return parts


def reach(name: str, graph: Mapping[str, set[str]]) -> set[str]:
    found, left = set(), [name]
    while left:
        for other in graph[left.pop()] - found:
            found.add(other)
            left.append(other)
    return found


def floors_of(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """Module -> its floor: one above the highest that it imports; those in a circle stand on one."""
    parts = circles_in(graph)
    part_of = {name: index for index, part in enumerate(parts) for name in part}
    below = [{part_of[other] for name in part for other in graph[name]} - {index} for index, part in enumerate(parts)]
    floors: dict[int, int] = {}

    def floor(index: int) -> int:
        if index not in floors:
            floors[index] = max((floor(other) + 1 for other in below[index]), default=0)
        return floors[index]

    return {name: floor(index) for name, index in part_of.items()}


def fields_in(path: Path) -> Iterator[str]:
    """The names of the fields of the records in a file, but for those that hold a record."""
    for node in ast.parse(path.read_text()).body:
        is_record = isinstance(node, ast.ClassDef) and any("dataclass" in ast.dump(one) for one in node.decorator_list)
        if isinstance(node, ast.ClassDef) and is_record and node.name not in WHAT_THEY_COME_TO:
            fields = [one for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)]
            yield from (ast.unparse(one.target) for one in fields if not _is_no_setting(one.annotation))


def _is_no_setting(annotation: ast.expr) -> bool:
    """Whether that is a constant of the class, or another record."""
    text = ast.unparse(annotation)
    return text.startswith("ClassVar") or text.endswith("Config") or text in RECORDS


def lines_of(found: Mapping[str, House]) -> list[str]:
    """The table, a column for each state."""
    houses = found.values()
    rows = [
        (f"`{package}/`: files, arrows, floors, circles", *(_numbers(house, package) for house in houses))
        for package in PACKAGES
    ]
    rows += [
        ("lines of a file, median", *(f"{house.median_lines:g}" for house in houses)),
        ("longest file", *("{} ({})".format(*house.longest) for house in houses)),
        ("names of settings", *(str(house.settings) for house in houses)),
        ("declared again", *(str(house.declared_again) for house in houses)),
    ]
    return markdown_table((None, *found), rows)


def _numbers(house: House, package: str) -> str:
    return ", ".join(str(figures[package]) for figures in (house.files, house.arrows, house.floors, house.circles))


if __name__ == "__main__":
    main()
