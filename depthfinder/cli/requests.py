"""Options of commands beside the settings of a run: what is printed, where results go, and what `profile` does."""

from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import Field
from pydantic.dataclasses import dataclass

from profiles.option import CHECKED, Option

DEFAULT_OUTPUT: Final = Path("depthfinder-out")
_PANEL: Final = "Output"


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class PrintRequest:
    """The options of every command."""

    PANEL: ClassVar = _PANEL

    as_json: Annotated[bool, Option("Print one JSON object instead of tables.", ("--json",), is_switch=True)] = False
    debug: Annotated[bool, Option("Show the traceback of an error.", is_switch=True)] = False


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class OutputRequest(PrintRequest):
    """The options of commands that write files."""

    output: Annotated[Path, Option("The folder that holds profiles and runs.")] = DEFAULT_OUTPUT


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class FolderRequest(OutputRequest):
    """The options of commands that write a folder of their own."""

    experiment: Annotated[
        str | None, Option("Name of the folder below --output; by default from the settings that matter most.")
    ] = None


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class RunRequest(FolderRequest):
    """The options of `run`, `search` and `pareto` beside the settings of a run."""

    config: Annotated[
        Path | None, Option("An args.yaml or a recipe to go by; flags have the last word.", ("--config", "-c"))
    ] = None
    without_training: Annotated[
        bool,
        Option(
            "Train nothing: fit layers in the blocks' places on images without labels, find the plan by them, and "
            "merge and measure it. The same as --scored-by fits --progressive-epochs 0.",
            is_switch=True,
            panel="Search",
        ),
    ] = False


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class ProfileRequest(OutputRequest):
    """The options of `profile` beside the network and the device."""

    PANEL: ClassVar = "Devices that are not here"

    kit: Annotated[
        Path | None, Option("Measure nothing: pack a kit to be run on the device, which need not be here.")
    ] = None
    imported: Annotated[Path | None, Option("Read in the results.json that a kit brought back.", ("--import",))] = None
    modelled: Annotated[
        bool, Option("Measure nothing: a table from published timings of operators.", is_switch=True)
    ] = False
    active: Annotated[
        int | None,
        Option("Predict the table from others of this device, and measure the N rows that are least sure."),
        Field(ge=0),
    ] = None


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class MeasureRequest(PrintRequest):
    """The options of `measure` beside the device."""

    networks: Annotated[
        list[Path],
        Option("ONNX files, folders of runs, or plans; others are compared to the first.", is_argument=True),
    ]
    seconds: Annotated[float, Option("Seconds to spend on measuring."), Field(gt=0)] = 20.0
