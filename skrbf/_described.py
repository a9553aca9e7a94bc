"""What tells two values of a parameter apart, in any process."""

import dis
import functools
import hashlib
import types

import numpy as np
import torch
from torch import nn

# What the calls of a function may change, and so does not tell what it is.
_MUTABLE = list | dict | set | np.ndarray | torch.Tensor


def described(value, path=()):
    """A text that is the same where a value is made in the same way again.

    Of functions it has the code and what they were defined with, though not what they
    call; of networks their layers, settings and weights; of other objects the type
    alone, since what they hold may change with their use. It has no address in memory,
    so it can be compared with that of another process.

    Parameters
    ----------
    value : object
    path : tuple of int
        Identities of what holds the value: it may hold itself.

    Returns
    -------
    text : str
    """
    if id(value) in path:
        return "..."
    return _told(value, functools.partial(described, path=(*path, id(value))))


def weights(module):
    """A text that differs where the state of a module does.

    Parameters
    ----------
    module : Module

    Returns
    -------
    text : str
    """
    state = module.state_dict().items()
    return _hashed(*(f"{name} {described(tensor)}".encode() for name, tensor in state))


@functools.singledispatch
def _told(value, each):
    """The text of a value, with the texts by `each` of what it holds."""
    return _kind(value)


@_told.register(bool | int | float | complex | str | bytes | None)
@_told.register(slice | range | torch.dtype | torch.device)
def _(value, each):
    return repr(value)


@_told.register
def _(value: np.generic, each):
    return repr(value.item())


@_told.register
def _(value: np.ndarray, each):
    if value.dtype == object:
        return each(value.tolist())
    return f"{value.dtype} {value.shape} {_hashed(np.ascontiguousarray(value))}"


@_told.register
def _(value: torch.Tensor, each):
    if nn.parameter.is_lazy(value):
        return _kind(value)
    stored = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return f"{value.dtype} {tuple(value.shape)} {_hashed(stored.numpy())}"


@_told.register(list | tuple)
def _(value, each):
    return f"[{', '.join(map(each, value))}]"


@_told.register(set | frozenset)
def _(value, each):
    return f"{{{', '.join(sorted(map(each, value)))}}}"


@_told.register
def _(value: dict, each):
    return each(list(value.items()))


@_told.register(type | types.BuiltinFunctionType)
def _(value, each):
    return f"{value.__module__}.{value.__qualname__}"


@_told.register
def _(value: types.CodeType, each):
    return f"{value.co_code.hex()} {value.co_names} {each(value.co_consts)}"


@_told.register
def _(value: types.FunctionType, each):
    named = value.__kwdefaults__ or {}
    made = [*(value.__defaults__ or ()), *named, *named.values(), *_held(value)]
    fixed = [type(part) if isinstance(part, _MUTABLE) else part for part in made]
    return f"{value.__qualname__} {each(value.__code__)} {each(fixed)}"


def _held(function):
    """What surrounds a function, but for what its calls assign."""
    code, assigned = function.__code__, _assigned(function.__code__)
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        if name not in assigned and cell != types.CellType():  # that is, not empty
            yield cell.cell_contents


def _assigned(code):
    """Names of the surroundings that a code, or one within it, assigns."""
    steps = dis.get_instructions(code)
    names = {step.argval for step in steps if step.opname == "STORE_DEREF"}
    within = (part for part in code.co_consts if isinstance(part, types.CodeType))
    return names.union(*map(_assigned, within))


@_told.register
def _(value: types.MethodType, each):
    return each([value.__func__, value.__self__])


@_told.register
def _(value: functools.partial, each):
    return f"partial {each([value.func, value.args, value.keywords])}"


@_told.register
def _(value: nn.Module, each):
    """With the numbers and words that the authors of its parts have set on them."""
    settings = {name: _settings(part) for name, part in value.named_modules()}
    return f"{_kind(value)} {value!r} {weights(value)} {each(settings)}"


def _settings(module):
    plain, usual = bool | int | float | str | tuple | None, vars(nn.Module())
    return {
        name: held
        for name, held in vars(module).items()
        if isinstance(held, plain) and name not in usual
    }


def _kind(value):
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _hashed(*parts):
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()
