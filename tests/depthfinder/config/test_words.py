"""What is typed for settings that hold more than a number or a word."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from depthfinder.config.files import checked
from depthfinder.config.model import ArchitectureConfig
from pruner.errors import SettingsError

values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(alphabet="abcXYZ_/ .:#'-=", max_size=12)
)
names = st.from_regex(r"[a-z_]{1,10}", fullmatch=True).filter(lambda name: name != "img_size")


def made_with(pairs: list[str], img_size: str | None = None) -> dict[str, Any]:
    """What a network is made with where these arguments and this size are typed."""
    return checked(ArchitectureConfig, {"model_kwargs": pairs, "img_size": img_size}).kwargs


# How fast values are made is the machine's affair.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(names, values | st.lists(st.integers(), max_size=3), max_size=5))
def test_model_arguments_survive_being_typed(kwargs: dict[str, object]) -> None:
    assert made_with([f"{name}={json.dumps(value)}" for name, value in kwargs.items()]) == kwargs


@pytest.mark.parametrize(
    ("word", "value"), [("True", True), ("1e-5", 1e-5), ("[1, 2]", [1, 2]), ("avg", "avg"), ("", None)]
)
def test_values_are_what_they_look_like(word: str, value: object) -> None:
    assert made_with([f"x={word}"]) == {"x": value}


@pytest.mark.parametrize(
    ("word", "size"),
    [
        ("160", 160),
        ("160,320", [160, 320]),
        ("160x320", [160, 320]),
        ("[160, 320]", [160, 320]),
        (" 160 x 320 ", [160, 320]),
    ],
)
def test_the_image_size_is_one_of_the_models_arguments(word: str, size: object) -> None:
    assert made_with(["depth=6"], word) == {"depth": 6, "img_size": size}
    assert made_with(["depth=6", f"img_size={word}"]) == {"depth": 6, "img_size": size}
    assert made_with([f"img_size={json.dumps(size)}"]) == {"img_size": size}
    assert ArchitectureConfig(model_kwargs={"img_size": size}).kwargs == {"img_size": size}
    assert made_with(["img_size=64"], word) == {"img_size": size}, "the flag has the last word"


@pytest.mark.parametrize(
    "word", ["", "0", "-1", "32,0", "3.2", "32x64x3", "3,32,64", "32,", "x32", "big", "1e3", "9" * 5000, "99999", "٣٢"]
)
def test_what_is_no_image_size_is_refused(word: str) -> None:
    for pairs, size in (([], word), ([f"img_size={word}"], None)):
        with pytest.raises(SettingsError, match="no size of images: write 224, or height and width as 160x320"):
            made_with(pairs, size)


@pytest.mark.parametrize("pair", ["depth", "=6"])
def test_what_is_no_pair_is_refused(pair: str) -> None:
    with pytest.raises(SettingsError, match=r"--model-kwargs: .* is not of the form name=value"):
        made_with([pair])
