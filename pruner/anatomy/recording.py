"""What one forward pass of a module computes, as a graph: recorded while it runs, where it cannot be traced.

Code that goes by Python's own values (`**kwargs`, settings, lists of any length) cannot be run on stand-ins for
tensors. It is run on tensors, once for one image and once for two, and every function that it calls is noted. Numbers
that are twice as many for two images are the batch's; what goes by the values of tensors is refused.
"""

import dataclasses
import itertools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from pruner.algebra.answer import tensors_in
from pruner.anatomy.observe import Given
from pruner.errors import UnknownModelError

_OPERATORS: Final = {
    "__add__": operator.add, "__radd__": operator.add, "__iadd__": operator.iadd, "__mul__": operator.mul,
    "__rmul__": operator.mul, "__sub__": operator.sub, "__truediv__": operator.truediv, "__matmul__": operator.matmul,
    "__getitem__": operator.getitem, "__neg__": operator.neg,
}  # fmt: skip
_BY_VALUE: Final = {"__bool__", "__int__", "__float__", "__index__", "item", "tolist", "numpy", "nonzero"}


@dataclass(frozen=True)
class _Ref:
    """Stands for what an entry gives, or for a tensor that enters."""

    place: int


@dataclass(frozen=True)
class _Attribute:
    """Stands for a parameter or a buffer."""

    path: str


@dataclass(frozen=True)
class _Entry:
    op: str
    target: Any
    args: Any
    named: Any


@dataclass(frozen=True)
class _Record:
    entering: tuple[Tensor, ...]
    entries: tuple[_Entry, ...]
    output: Any


def recorded(
    module: nn.Module,
    is_leaf: Callable[[str], bool],
    runs: Sequence[Given],
    names: Sequence[str],
    tensors: Sequence[Any],
) -> fx.Graph:
    """Returns what `module` computes, with chosen submodules as single nodes.

    Args:
        module: The module, in the mode that it is to be recorded in.
        is_leaf: Whether the submodule of that path is to be one node.
        runs: What it is called with for one image, and for two.
        names: What the tensors that enter are to be called in the graph.
        tensors: For each run, the tensors among its arguments that enter; all others are constants.

    Raises:
        UnknownModelError: when it goes by the values of tensors, or does something else for two images.
    """
    records = [_recorded(module, is_leaf, run, entering) for run, entering in zip(runs, tensors, strict=True)]
    graph = _Graph(module, *records).of(names)
    graph.lint()
    return graph


class _Recorder(TorchFunctionMode):
    """Notes the functions that are called, and the modules that are single nodes."""

    def __init__(self, module: nn.Module, entering: Sequence[Tensor]) -> None:
        super().__init__()
        self.entries: list[_Entry] = []
        self._flows = [True] * len(entering)
        self._places = {id(tensor): place for place, tensor in enumerate(entering)}
        self._alive: list[Tensor] = list(entering)  # so that no number is used for another tensor
        own = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
        self._own = {id(tensor): path for path, tensor in reversed(own)}
        self._depth = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        if self._depth:
            return func(*args, **named)
        name = getattr(func, "__name__", "")
        if name in _BY_VALUE:
            return self._plainly(func, args, named, f"it goes by the values of a tensor ({name})")
        if name == "__setitem__":
            return self._plainly(func, args, named, "it writes into a part of a tensor")
        op, target, *further = _call_of(func, name)
        given = (*self._structure(args), *further), self._structure(named)
        result = func(*args, **named)
        writes = named.get("inplace") is True or (name.endswith("_") and not name.endswith("__")) or name == "__iadd__"
        return self._noted(op, target, *given, result, writes=writes) if _holds_tensors(result) else result

    def _plainly(self, func: Any, args: tuple[Any, ...], named: dict[str, Any], why_not: str) -> Any:
        """Runs a function whose tensors are constants from then on: neither the images nor weights play a part in them.

        Raises:
            UnknownModelError: when they do.
        """
        for tensor in tensors_in([*args, *named.values()]):
            place = self._places.pop(id(tensor), None)
            if id(tensor) in self._own or (place is not None and self._flows[place]):
                raise UnknownModelError(why_not)
        return func(*args, **named)

    def enter(self, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
        """Notes what a module that is a single node is given."""
        self._depth += 1
        return (self._structure(args), self._structure(named)) if self._depth == 1 else ((), {})

    def leave(self, path: str, args: Any, named: Any, result: Any) -> Any:
        """Notes what it gave."""
        if self._depth == 1:
            result = self._noted("call_module", path, args, named, result, writes=False)
        self._depth -= 1
        return result

    def _noted(self, op: str, target: Any, args: Any, named: Any, result: Any, *, writes: bool) -> Any:
        return self._placed(result, self._added(op, target, args, named), writes)

    def _added(self, op: str, target: Any, args: Any, named: Any) -> int:
        """Adds an entry, and returns its place."""
        self.entries.append(_Entry(op, target, args, named))
        self._flows.append(op == "call_module" or any(self._is_flowing(one) for one in (*args, *named.values())))
        return len(self._flows) - 1

    def _is_flowing(self, given: Any) -> bool:
        """Whether the images or weights play a part in what an entry is given."""
        if isinstance(given, _Ref):
            return self._flows[given.place]
        return isinstance(given, _Attribute) or any(self._is_flowing(one) for _, one in _parts_of(given, records=False))

    def _placed(self, value: Any, place: int, writes: bool = False) -> Any:
        """Remembers that an entry gave these tensors. A tensor that was there before, and was not written to, becomes
        one of its own: a dropout that does nothing gives what it takes."""
        if isinstance(value, Tensor):
            if id(value) in self._places and not writes:
                value = value.view_as(value)
            self._places[id(value)] = place
            self._alive.append(value)
            return value
        parts = _parts_of(value)
        for key, part in parts:
            if _holds_tensors(part):
                by = getattr if dataclasses.is_dataclass(value) else operator.getitem
                self._placed(part, self._added("call_function", by, (_Ref(place), key), {}), writes=True)
        return value

    def _structure(self, value: Any) -> Any:
        """The same value with references in place of tensors."""
        if isinstance(value, Tensor):
            if id(value) in self._places:
                return _Ref(self._places[id(value)])
            if id(value) in self._own:
                return _Attribute(self._own[id(value)])
            return value.detach().clone()  # a constant, as it is now
        if isinstance(value, dict):
            return {key: self._structure(one) for key, one in value.items()}
        if isinstance(value, (list, tuple)):
            made = [self._structure(one) for one in value]
            return made if isinstance(value, list) else tuple(made)
        if isinstance(value, slice):
            return slice(*map(self._structure, (value.start, value.stop, value.step)))
        return value

    def output(self, value: Any) -> Any:
        """What a module returns, with references in place of tensors. What is neither a list, a tuple nor a dictionary
        is made by an entry of its own."""
        parts = {key: self.output(part) for key, part in _parts_of(value)}
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._made(type(value), (), parts)
        if isinstance(value, dict):
            return parts if type(value) is dict else self._made(type(value), (list(parts.items()),), {})
        if isinstance(value, (list, tuple)):
            made = list(parts.values())
            plain = type(value) in (list, tuple)
            return type(value)(made) if plain else self._made(type(value), tuple(made), {})
        return self._structure(value)

    def _made(self, cls: type, args: Any, named: Any) -> _Ref:
        return _Ref(self._added("call_function", cls, args, named))


def _recorded(module: nn.Module, is_leaf: Callable[[str], bool], given: Given, entering: Sequence[Tensor]) -> _Record:
    recorder = _Recorder(module, entering)
    with _leaves_noted(module, is_leaf, recorder), torch.no_grad(), recorder:
        value = module(*given[0], **given[1])
    output = recorder.output(value)
    return _Record(tuple(entering), tuple(recorder.entries), output)


@contextmanager
def _leaves_noted(module: nn.Module, is_leaf: Callable[[str], bool], recorder: _Recorder) -> Iterator[None]:
    """A context in which the recorder is told of the submodules that are single nodes."""
    with ExitStack() as hooks:
        for path, leaf in module.named_modules():
            if not path or not is_leaf(path):
                continue
            before, after = _hooks(path, recorder)
            hooks.enter_context(leaf.register_forward_pre_hook(before, with_kwargs=True))
            hooks.enter_context(leaf.register_forward_hook(after))
        yield


def _hooks(path: str, recorder: _Recorder) -> tuple[Callable[..., None], Callable[..., Any]]:
    notes: list[tuple[Any, Any]] = []

    def before(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        notes.append(recorder.enter(args, named))

    def after(_: nn.Module, __: Any, result: Any) -> Any:
        return recorder.leave(path, *notes.pop(), result)

    return before, after


def _call_of(func: Any, name: str) -> tuple[Any, ...]:
    """How a function is written in a graph: as a call of a function, or of a method of the first argument; and what
    further arguments it then has."""
    if name == "__get__":
        asked = func.__self__
        return "call_function", getattr, getattr(asked, "fget", asked).__name__
    if getattr(Tensor, name, None) is func:
        return ("call_function", _OPERATORS[name]) if name in _OPERATORS else ("call_method", name)
    return "call_function", func


def _parts_of(value: Any, *, records: bool = True) -> list[tuple[Any, Any]]:
    """The entries of a list, tuple, dictionary or dataclass, by their keys; nothing for other values."""
    if records and dataclasses.is_dataclass(value) and not isinstance(value, type):
        both = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return [(name, part) for name, part in both if part is not None]
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, (list, tuple)) else []


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, Tensor) or any(_holds_tensors(part) for _, part in _parts_of(value))


class _Graph:
    """Two records of one module, for one image and for two, as one graph."""

    def __init__(self, module: nn.Module, once: _Record, twice: _Record) -> None:
        self._module, self._once, self._twice = module, once, twice
        self._graph = fx.Graph()
        self._nodes: list[fx.Node] = []
        self._images: fx.Node | None = None

    def of(self, names: Sequence[str]) -> fx.Graph:
        """Returns the graph; its placeholders have these names."""
        self._nodes = [self._graph.placeholder(name) for name in names]
        if [(one.op, one.target) for one in self._once.entries] != [(o.op, o.target) for o in self._twice.entries]:
            raise UnknownModelError("it calls other functions for two images than for one")
        for one, two in zip(self._once.entries, self._twice.entries, strict=True):
            args, named = self._both(one.args, two.args), self._both(one.named, two.named)
            self._nodes.append(self._graph.create_node(one.op, one.target, args, named))
        self._graph.output(self._both(self._once.output, self._twice.output))
        return self._graph

    def _both(self, one: Any, two: Any) -> Any:
        """What stands in both records at one place."""
        if isinstance(one, _Ref) and one == two:
            return self._nodes[one.place]
        if isinstance(one, _Attribute) and one == two:
            return self._graph.get_attr(one.path)
        if isinstance(one, Tensor) and isinstance(two, Tensor):
            return self._constant(one, two)
        if type(one) is type(two) and isinstance(one, (list, tuple)) and len(one) == len(two):
            made = [self._both(*both) for both in zip(one, two, strict=True)]
            return made if isinstance(one, list) else tuple(made)
        if isinstance(one, dict) and isinstance(two, dict) and one.keys() == two.keys():
            return {key: self._both(one[key], two[key]) for key in one}
        if isinstance(one, slice) and isinstance(two, slice):
            return slice(*(self._both(getattr(one, end), getattr(two, end)) for end in ("start", "stop", "step")))
        if isinstance(one, torch.device):
            return self._graph.call_function(getattr, (self._nodes[0], "device"))
        if isinstance(one, torch.dtype) and self._once.entering[0].dtype == one == two:
            return self._graph.call_function(getattr, (self._nodes[0], "dtype"))
        if type(one) is type(two) and one == two:
            return one
        if type(one) is int and two == 2 * one:
            return self._batch(one)
        raise UnknownModelError(f"it goes by {one!r:.40} for one image, and by {two!r:.40} for two")

    def _constant(self, one: Tensor, two: Tensor) -> fx.Node:
        """A tensor that the module holds neither as a parameter nor as a buffer."""
        if one.shape != two.shape or not (one.is_meta or torch.equal(one, two)):
            raise UnknownModelError("it goes by another tensor for two images than for one")
        for name in map("_constant{}".format, itertools.count()):
            known: Any = getattr(self._module, name, None)
            if known is None:
                self._module.register_buffer(name, one, persistent=False)
            if known is None or (known.shape == one.shape and (one.is_meta or torch.equal(known, one))):
                return self._graph.get_attr(name)
        raise AssertionError("there is always another name")

    def _batch(self, times: int) -> fx.Node:
        """A number that is `times` as many as there are images."""
        if self._images is None:
            both = zip(self._once.entering, self._twice.entering, strict=True)
            counts = ((place, len(x)) for place, (x, y) in enumerate(both) if x.dim() and len(y) == 2 * len(x))
            place, count = next(counts, (None, 0))
            if place is None:
                raise UnknownModelError("it goes by the number of images, which nothing that it is given tells")
            shape = self._graph.call_function(getattr, (self._nodes[place], "shape"))
            self._images = self._graph.call_function(operator.getitem, (shape, 0))
            if count > 1:
                self._images = self._graph.call_function(operator.floordiv, (self._images, count))
        return self._images if times == 1 else self._graph.call_function(operator.mul, (self._images, times))
