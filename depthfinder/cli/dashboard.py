"""The command `depthfinder dashboard`: it shows a search in optuna-dashboard. Imports are as late as possible."""

from pathlib import Path
from typing import Annotated, Final

import typer

EPILOG_DASHBOARD: Final = "Example: depthfinder dashboard depthfinder-out/deit_digits-ort-cpu-x0.6-s0 --port 8080"


def dashboard_command(
    run_folder: Annotated[Path, typer.Argument(help="The folder of a run whose search is done.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 is any free port.")] = 8080,
) -> None:
    """Shows a search in the browser: every plan with its figures, its block map and its verdict.

    It serves a copy, RUN/review, which is built anew when the run has changed since; the run itself is not touched.
    Needs pip install "depthfinder[dashboard]". Ctrl-C ends it.
    """
    from depthfinder.folder.run_folder import RunFolder
    from depthfinder.report.review import review_of
    from search.dashboard.server import serve_review

    def announce(address: str) -> None:
        print(f"the search: {address}", flush=True)
        print(
            f"It listens on loopback only and asks for no password: whoever reaches it, any user of this machine, can "
            f"change or delete this copy, {copy.folder}, and nothing else. Ctrl-C ends it.",
            flush=True,
        )

    copy = review_of(RunFolder(run_folder))
    serve_review(copy, port, announce)
