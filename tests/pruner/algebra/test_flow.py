"""Networks run part by part: whatever flows past a part, and whichever parts go, the answer is the same."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pruner.algebra.flow import Flow, Part, Wire, bridged, connected


class Told(nn.Module):
    """Something else for every part, and for every order of its inputs."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def forward(self, *inputs: Tensor) -> Tensor:
        weighted = sum((place + 2) * one for place, one in enumerate(inputs))
        return weighted * (self.number + 3) % 10_007  # type: ignore[operator, return-value]


@st.composite
def programs(draw: st.DrawFn) -> tuple[list[Wire], set[int]]:
    """Parts that take one or two of the tensors before them, and some of those with one input that are to go."""
    count = draw(st.integers(2, 8))
    takes = [tuple(draw(st.lists(st.integers(0, place), min_size=1, max_size=2))) for place in range(count)]
    takes[-1] = (count - 1,)  # what is before the end is needed there
    wires = connected([Wire(taken, (place + 1,)) for place, taken in enumerate(takes)])
    single = [place for place, taken in enumerate(takes[:-1]) if len(taken) == 1]
    return wires, set(draw(st.lists(st.sampled_from(single)))) if single else set()


def answer(parts: list[Part], start: Tensor) -> Tensor:
    flow = Flow.of(start)
    for part in parts:
        flow = part.run(flow)
        assert all(number not in flow.tensors for number in part.wire.done)
    (number,) = parts[-1].wire.gives
    return flow.tensors[number]


@given(programs())
def test_parts_that_go_hand_on_what_they_take(made: tuple[list[Wire], set[int]]) -> None:
    wires, gone = made
    start = torch.tensor([[5]])
    modules = [nn.Identity() if place in gone else Told(place) for place in range(len(wires))]
    whole = [Part(str(place), module, wire) for place, (module, wire) in enumerate(zip(modules, wires, strict=True))]
    left = [part for place, part in enumerate(whole) if place not in gone]
    short = [Part(part.name, part.module, wire) for part, wire in zip(left, bridged(wires, gone), strict=True)]
    assert torch.equal(answer(short, start), answer(whole, start))


def test_a_part_follows_another_whose_only_taker_it_is() -> None:
    first, second, third = connected([Wire((0,), (1,)), Wire((1,), (2,)), Wire((2, 1), (3,))])
    assert not second.follows(first)
    first, second = connected([Wire((0,), (1,)), Wire((1,), (2,))])
    assert second.follows(first)
    assert not third.follows(second)
