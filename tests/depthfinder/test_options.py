import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from depthfinder.options import format_model_kwargs, parse_model_kwargs

values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(alphabet="abcXYZ_/ .:#'-=", max_size=12)
)
names = st.from_regex(r"[a-z_]{1,10}", fullmatch=True)


# How fast values are made is the machine's affair.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(names, values | st.lists(st.integers(), max_size=3), max_size=5))
def test_model_arguments_survive_being_typed(kwargs: dict[str, object]) -> None:
    assert parse_model_kwargs(format_model_kwargs(kwargs), None) == kwargs


@pytest.mark.parametrize(
    ("word", "value"), [("True", True), ("1e-5", 1e-5), ("[1, 2]", [1, 2]), ("avg", "avg"), ("", None)]
)
def test_values_are_what_they_look_like(word: str, value: object) -> None:
    assert parse_model_kwargs([f"x={word}"], None) == {"x": value}


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
    assert parse_model_kwargs(["depth=6"], word) == {"depth": 6, "img_size": size}
    assert parse_model_kwargs(["depth=6", f"img_size={word}"], None) == {"depth": 6, "img_size": size}
    typed = parse_model_kwargs([], word)
    assert parse_model_kwargs(format_model_kwargs(typed), None) == typed


@pytest.mark.parametrize(
    "word", ["", "0", "-1", "32,0", "3.2", "32x64x3", "3,32,64", "32,", "x32", "big", "1e3", "9" * 5000, "99999", "٣٢"]
)
def test_what_is_no_image_size_is_refused(word: str) -> None:
    for arguments in ([], word), ([f"img_size={word}"], None):
        with pytest.raises(typer.BadParameter, match="no size of images: write 224, or height and width as 160x320"):
            parse_model_kwargs(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("pair", ["depth", "=6"])
def test_what_is_no_pair_is_refused(pair: str) -> None:
    with pytest.raises(typer.BadParameter, match="not of the form name=value"):
        parse_model_kwargs([pair], None)
