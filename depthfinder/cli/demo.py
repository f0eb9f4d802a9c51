"""The message of a command that takes the demo because no network was named."""

import sys

from depthfinder.config.model import DEMO_MODEL
from depthfinder.config.run import RunConfig


def tell_of_demo(why: str, asked: RunConfig) -> None:
    """Prints to stderr that the demo's network is taken, on which images and for which device, and how to name others.

    Args:
        why: Why the demo is taken, such as "no --model given": the beginning of the message.
        asked: The settings of the run.
    """
    if asked.data.dataset == "digits":
        taken = f"this is the demo: {DEMO_MODEL}, a 12-block DeiT that ships trained, on images of handwritten digits"
    else:
        taken = f"taking the demo's network, {DEMO_MODEL}, on the images of {asked.data.data_dir or asked.data.dataset}"
    print(f"{why}: {taken}, for {asked.measure.device}; name yours with --model and --data-dir", file=sys.stderr)
