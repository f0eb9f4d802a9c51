"""The check at every opening: with all blocks kept, the opened network computes what the model does."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pruner.algebra.answer import answer_of, tensors_in
from pruner.algebra.flow import Flow, Part
from pruner.algebra.modules import only_training
from pruner.choices.site import Site
from pruner.errors import OddModelError, UnknownModelError
from pruner.network.outline import Outline, digest


@dataclass(frozen=True)
class AtSite:
    """What a site takes and gives, and what it computes between.

    Attributes:
        inputs: The shape of its input, without the batch.
        outputs: The shape of its output, without the batch.
        computed: A short name for the functions that it calls, with their shapes.
    """

    inputs: torch.Size
    outputs: torch.Size
    computed: str


class _Flow:
    """The input and the output of every site while a network runs."""

    def __init__(self) -> None:
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}
        self.calls: dict[str, tuple[int, int]] = {}
        self.rows: set[str] = set()
        self.versions: dict[str, int] = {}
        self.writing: list[str] = []

    def note_row(self, path: str, *_: Any) -> None:
        """Notes that a Sequential ran."""
        self.rows.add(path)

    def note(self, site: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(site, Site)
        if inputs[0]._version != self.versions[site.block.name]:
            self.writing.append(site.block.name)
        self.inputs[site.block.name], self.outputs[site.block.name] = inputs[0], output

    def enter(self, outline: Outline, site: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Notes how many functions were called before the site."""
        assert isinstance(site, Site)
        self.versions[site.block.name] = inputs[0]._version
        self.calls[site.block.name] = len(outline.lines), 0

    def leave(self, outline: Outline, site: nn.Module, *_: Any) -> None:
        """Notes how many were called when it was left."""
        assert isinstance(site, Site)
        self.calls[site.block.name] = self.calls[site.block.name][0], len(outline.lines)

    def is_by_its_steps(self, site: Site) -> bool:
        """Whether the steps of the site, run in turn, give what the site gave, or there are none to run."""
        name = site.block.name
        by_steps = site.runs_by_steps(self.inputs[name]) if name in self.inputs else None
        return by_steps is None or _near(by_steps, self.outputs[name])


@torch.no_grad()
def check_opened(
    model: nn.Module,
    network: nn.Module,
    sites: Mapping[str, Site],
    parts: Sequence[Part],
    size: tuple[int, int, int],
) -> tuple[dict[str, AtSite], Outline, frozenset[str]]:
    """Checks an opened network against its model on one image, and notes the shapes at its sites.

    The opened network has to give what the model gives: bit for bit on a CPU, to rounding on other devices, where two
    runs may differ. Its parts, run in order, have to give the same to rounding. A block whose steps in turn give
    something else than the block can only be kept from then on.

    Args:
        model: The network that was opened.
        network: The opened copy, with all blocks kept.
        sites: Block -> its site in `network`.
        parts: What `network` consists of, in the order in which it runs.
        size: (channels, height, width) of the image.

    Returns:
        Block -> what was seen there; the functions that `network` calls; and the paths of the Sequentials in it that
        ran, one module of theirs after another.

    Raises:
        OddModelError: when the model and the opened network, or its parts, give something else.
        UnknownModelError: when the model takes no images of this size.
    """
    images = _example(model, size)
    flow = _Flow()
    with only_training(model, []), only_training(network, []):
        expected = _run(model, images)
        with ExitStack() as hooks, Outline(sites.values()) as outline:
            for path, module in network.named_modules():
                if type(module).forward is nn.Sequential.forward:
                    hooks.enter_context(module.register_forward_hook(partial(flow.note_row, path)))
            for site in sites.values():
                hooks.enter_context(site.register_forward_pre_hook(partial(flow.enter, outline)))
                hooks.enter_context(site.register_forward_hook(partial(flow.leave, outline)))
                hooks.enter_context(site.register_forward_hook(flow.note))
            found = network(images)
        if not _all_same(found, expected):
            raise OddModelError(_differs(model, network, images))
        if flow.writing:
            raise OddModelError(_writes(model, flow.writing[0]))
        for site in sites.values():
            if not flow.is_by_its_steps(site):
                site.only_keep(f"its {type(site.kept).__name__} computes something else than its layers in turn")
        _check_parts(model, parts, images, flow, answer_of(expected))
    found_at = {
        name: AtSite(x.shape[1:], flow.outputs[name].shape[1:], digest(outline.lines[slice(*flow.calls[name])]))
        for name, x in flow.inputs.items()
    }
    return found_at, outline, frozenset(flow.rows)


def _example(model: nn.Module, size: tuple[int, int, int]) -> Tensor:
    like = next(parameter for parameter in model.parameters() if parameter.is_floating_point())
    return torch.randn(1, *size, generator=torch.Generator().manual_seed(0)).to(like)


def _run(model: nn.Module, images: Tensor) -> Any:
    try:
        output = model(images)
    except Exception as error:  # whatever a network raises on images that it does not take
        shape = "x".join(str(side) for side in images.shape[1:])
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UnknownModelError(
            f"this {type(model).__name__} does not take images of {shape}: {reason}; say what it takes with "
            "--img-size, or with input_size=(channels, height, width) in Python"
        ) from error
    answer_of(output)
    return output


def _check_parts(model: nn.Module, parts: Sequence[Part], images: Tensor, seen: _Flow, expected: Tensor) -> None:
    """Raises `OddModelError` when the parts before, between and after the blocks, run in order, do not give what the
    model gives there."""
    flow, before = Flow.of(images), "its beginning"
    for part in parts:
        name = part.name
        if isinstance(part.module, Site):
            (entering,) = part.wire.taken(flow)
            if name not in seen.inputs or not _near(entering, seen.inputs[name]):
                raise OddModelError(_does_more(model, before, name))
            flow, before = part.wire.behind(flow, seen.outputs[name]), name
        else:
            inputs = part.wire.taken(flow)
            versions = [tensor._version for tensor in inputs]
            flow = part.run(flow)
            if versions != [tensor._version for tensor in inputs]:
                raise OddModelError(_writes(model, name))
    if not _near(flow.only, expected):
        raise OddModelError(_does_more(model, before, "its end"))


def _writes(model: nn.Module, name: str) -> str:
    return (
        f"{name} of this {type(model).__name__} writes into the tensor that it is given, which may be needed "
        "elsewhere: let it compute a new one"
    )


def _does_more(model: nn.Module, before: str, behind: str) -> str:
    return (
        f"this {type(model).__name__} does something between {before} and {behind} that the class it comes from does "
        "not: give it the forward of that class, or put what was added into a block or a layer"
    )


def _differs(model: nn.Module, network: nn.Module, images: Tensor) -> str:
    """The message that names the first block which gives something else in the opened network."""
    with _outputs(model) as wanted:
        model(images)
    with _outputs(network) as found:
        network(images)
    first = next((name for name in wanted if name in found and not _same(found[name], wanted[name])), None)
    where = "outside its blocks" if first is None else f"in {first}, a {type(model.get_submodule(first)).__name__}"
    return (
        f"this {type(model).__name__} gives something else when it is opened, beginning {where}: it computes something "
        "else than its class says, or not the same each time; give that a class of its own with its own forward"
    )


@contextmanager
def _outputs(network: nn.Module) -> Iterator[dict[str, Any]]:
    """A context that collects the outputs of all modules in a Sequential or a ModuleList, by their names."""
    found: dict[str, Any] = {}
    rows = [(name, row) for name, row in network.named_modules() if isinstance(row, nn.Sequential | nn.ModuleList)]
    with ExitStack() as hooks:
        for leaf, module in ((f"{row}.{leaf}", module) for row, held in rows for leaf, module in held.named_children()):
            hooks.enter_context(
                module.register_forward_hook(lambda _module, _inputs, output, name=leaf: found.update({name: output}))
            )
        yield found


def _all_same(found: Any, expected: Any) -> bool:
    """Whether two outputs hold the same tensors."""
    both = list(tensors_in(found)), list(tensors_in(expected))
    return len(both[0]) == len(both[1]) and all(map(_same, *both))


def _same(found: Any, expected: Tensor) -> bool:
    """Whether both are the same bit for bit on a CPU, or near on another device; a NaN is the same as a NaN."""
    if expected.device.type != "cpu":
        return _near(found, expected)
    if not isinstance(found, Tensor) or found.shape != expected.shape:
        return False
    return bool(((found == expected) | (found.isnan() & expected.isnan())).all())


def _near(found: Any, expected: Tensor) -> bool:
    """Whether both differ by no more than rounding in another order may: half of the digits of the largest number."""
    if not isinstance(found, Tensor) or found.shape != expected.shape:
        return False
    if expected.is_meta:
        return True  # there are no numbers to compare
    finite = expected[expected.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    bound = torch.finfo(expected.dtype).eps ** 0.5 * largest
    return torch.allclose(found, expected, rtol=0.0, atol=bound, equal_nan=True)
