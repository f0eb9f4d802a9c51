"""Prints the result of a finished folder of `run` or `sparsify`."""

from depthfinder.errors import FolderError
from depthfinder.folder.contents import contents_of
from depthfinder.folder.mask_result import MaskResult, is_of_masks
from depthfinder.folder.result import RunResult
from depthfinder.folder.run_folder import RunFolder

_HANDED_OVER = ("masked.safetensors", "masks.safetensors", "pruned.onnx")


def check_finished(folder: RunFolder) -> None:
    """Checks that a folder holds a result.

    Raises:
        FolderError: when it holds none, with what it holds instead, or when the result is damaged.
    """
    path = folder["result.json"]
    if not path.is_file():
        raise contents_of(folder.path).lacking("finished run", "result.json")
    try:
        (MaskResult if is_of_masks(path) else RunResult).load(path)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise FolderError(
            f"{path} is damaged; remove {folder['state.json']} and type the command again: its trainings and its study "
            "are gone on from"
        ) from error


def show_result(folder: RunFolder) -> None:
    """Prints the result of a folder and where its report and networks are. It writes the report if there is none."""
    if not folder["report.html"].is_file():
        # Imported here: a finished result is shown without matplotlib.
        from depthfinder.report.page import write_report

        write_report(folder)
    if is_of_masks(folder["result.json"]):
        _show_masks(folder)
    else:
        _show_run(folder)


def _show_run(folder: RunFolder) -> None:
    from depthfinder.report.tables import result_table, show

    result = RunResult.load(folder["result.json"])
    show(result_table(result))
    if result.table:
        print(f"table:     {result.table}")
    print(f"report:    {folder['report.html']}")
    print(f"network:   {folder['merged.onnx']}")
    print(f"again:     depthfinder report {folder.path}")
    print(f"the study: depthfinder dashboard {folder.path}")


def _show_masks(folder: RunFolder) -> None:
    for line in MaskResult.load(folder["result.json"]).lines:
        print(line)
    for name in (*_HANDED_OVER, "report.html"):
        if folder[name].exists():
            print(f"{name + ':':<20} {folder[name]}")
