"""Fingerprints tell whether a table is of a network: a digest of all before the head, a hyphen, and one of the head."""


def differ_in_head_alone(one: str, other: str) -> bool:
    """Whether two fingerprints are of networks that differ in nothing but the head.

    Example:
        >>> differ_in_head_alone("a1b2-c3", "a1b2-d4")
        True
    """
    return one != other and "-" in one and "-" in other and one.partition("-")[0] == other.partition("-")[0]


def is_outdated(fingerprint: str) -> bool:
    """Whether a fingerprint is of the old form, which knows a network by its blocks alone, whatever its stem and
    head."""
    return "-" not in fingerprint


def why_not(path: object, model: str, there: str, here: str) -> str | None:
    """Why a table is not of the network here, and what to type; None when it is.

    Args:
        path: The file of the table, for the message.
        model: The name of the table's model.
        there: The fingerprint of the table.
        here: The fingerprint of the network.
    """
    if there == here:
        return None
    again = f"make it again: depthfinder profile --model {model}"
    if is_outdated(there):
        return f"{path} knows its network by the blocks alone, so its stem and head may be others: {again}"
    if differ_in_head_alone(there, here):
        return (
            f"{path} is of this network with another head; {again}, with --model-kwargs num_classes=N where the number "
            "of classes is what differs"
        )
    return f"{path} is of another network: {model} {there} there, {here} here"
