"""What TensorBoard shows of the event files in a folder, read by TensorBoard itself."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def points(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> (step, value) of every point, in the order in which they are shown."""
    shown = EventAccumulator(str(folder))
    shown.Reload()
    return {tag: [(event.step, event.value) for event in shown.Scalars(tag)] for tag in shown.Tags()["scalars"]}
