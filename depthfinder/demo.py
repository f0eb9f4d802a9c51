"""The demo: what a command takes where no network is named, and how it says so."""

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from depthfinder.arguments import RunArguments

DEMO_MODEL: Final = "deit_digits"
DEMO_BUDGET_RATIO: Final = 0.6


def tell_of_demo(why: str, arguments: "RunArguments") -> None:
    """Says on stderr that the demo's network is taken, on which images and for which device, and how to name others;
    `why` is what was found out before."""
    if arguments.dataset == "digits":
        taken = f"this is the demo: {DEMO_MODEL}, a 12-block DeiT that ships trained, on images of handwritten digits"
    else:
        taken = f"taking the demo's network, {DEMO_MODEL}, on the images of {arguments.data_dir or arguments.dataset}"
    print(f"{why}: {taken}, for {arguments.device}; name yours with --model and --data-dir", file=sys.stderr)
