"""What tells two values of a parameter apart, in any process."""

import dis
import functools
import hashlib
import types

import numpy as np
import torch
from torch import nn

# Deeper than settings of anything are, and an end where they hold themselves.
_DEPTH = 10


def described(value, depth=_DEPTH):
    """A text that is the same where a value is made in the same way again.

    Of functions it has the code and what they were defined with, though not what they
    call; of networks their layers, settings and weights; of other objects the type
    alone, since what they hold may change with their use. It has no address in memory,
    so it can be compared with that of another process.

    Parameters
    ----------
    value : object
    depth : int
        Of what is held within each other, beyond which nothing is told.

    Returns
    -------
    text : str
    """
    if depth == 0:
        return "..."
    return _told(value, functools.partial(described, depth=depth - 1))


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
    return each(value.detach().cpu().numpy())


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
    made = [value.__code__, value.__defaults__, value.__kwdefaults__, _held(value)]
    return f"{value.__qualname__} {each(made)}"


def _held(function):
    """What a function was defined with, but for what its calls may have changed."""
    code, mutable = function.__code__, list | dict | set | np.ndarray
    assigned = {
        step.argval for step in dis.get_instructions(code) if "STORE" in step.opname
    }
    cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
    held = [cell.cell_contents for name, cell in cells if name not in assigned]
    return [type(each) if isinstance(each, mutable) else each for each in held]


@_told.register
def _(value: types.MethodType, each):
    return each([value.__func__, value.__self__])


@_told.register
def _(value: functools.partial, each):
    return f"partial {each([value.func, value.args, value.keywords])}"


@_told.register
def _(value: nn.Module, each):
    """With the numbers and words that its author has set on it."""
    plain, usual = int | float | str | tuple | None, vars(nn.Module())
    own = {
        name: held
        for name, held in vars(value).items()
        if isinstance(held, plain) and name not in usual
    }
    return f"{_kind(value)} {value!r} {weights(value)} {each(own)}"


def _kind(value):
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _hashed(*parts):
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()
