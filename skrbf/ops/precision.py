"""Half precision: maths on it is done in single precision, also under autocast."""

import functools
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

_HALF = frozenset({torch.float16, torch.bfloat16})

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def full_precision(
    function: Callable[_Arguments, _Result],
) -> Callable[_Arguments, _Result]:
    """Compute in single precision what is given in half, with autocast off.

    Parameters
    ----------
    function : callable
        Of tensors, alone or in tuples, among its arguments and results.

    Returns
    -------
    callable
        The same function. Tensors in half precision are float32 inside. Results in
        float32 are rounded back to half precision where no argument is more than that,
        and none is a dtype, which is that of the results. A tensor that the function
        returns because it has written there, as an ``out``, is written to.

    Notes
    -----
    One or two microseconds where there is nothing to do. Half precision has no room for
    sums of squares, for limits and tolerances made for float32, nor for exponentials on
    their way to 0. Autocast would bring it into some of the operations only.

    Examples
    --------
    >>> import torch
    >>> total = full_precision(lambda numbers: numbers.square().mean().sqrt())
    >>> total(torch.tensor([300.0, 300.0], dtype=torch.float16))
    tensor(300., dtype=torch.float16)
    """

    @functools.wraps(function)
    def wrapper(*args: _Arguments.args, **options: _Arguments.kwargs) -> _Result:
        if _is_reduced(args) or (options and _is_reduced(options.values())):
            result: _Result = _in_single(function, args, options)
            return result
        return function(*args, **options)

    return wrapper


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Dtype that `full_precision` computes in for tensors of a dtype.

    Parameters
    ----------
    dtype : torch.dtype

    Returns
    -------
    torch.dtype

    Examples
    --------
    >>> import torch
    >>> compute_dtype(torch.float16), compute_dtype(torch.float64)
    (torch.float32, torch.float64)
    """
    return torch.float32 if dtype in _HALF else dtype


def _is_reduced(arguments: Iterable[Any]) -> bool:
    """Tell whether there is half precision, or autocast would bring it in."""
    device = None
    for argument in arguments:
        if isinstance(argument, Tensor):
            if argument.dtype in _HALF:
                return True
            device = argument.device if device is None else device
        elif isinstance(argument, tuple) and _is_reduced(argument):
            return True
    return device is not None and _autocasts(device)


def _autocasts(device: torch.device) -> bool:
    kind = device.type
    # There is none for "meta", and to ask for it is an error.
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def _in_single(
    function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    given = (*args, *options.values())
    tensors = _tensors(given)
    copies: list[tuple[Tensor, Tensor]] = []
    wide_args, wide_options = (
        _converted(some, lambda tensor: _widened(tensor, copies))
        for some in (args, tuple(options.values()))
    )
    device = tensors[0].device
    autocasts = _autocasts(device)
    with torch.autocast(device.type, enabled=False) if autocasts else nullcontext():
        result = function(*wide_args, **dict(zip(options, wide_options, strict=True)))
    dtype = _result_dtype(given, tensors)
    return _converted(result, lambda tensor: _rounded(tensor, dtype, copies))


def _tensors(arguments: Iterable[Any]) -> list[Tensor]:
    """All tensors among the arguments and in tuples of them."""
    found = []
    for argument in arguments:
        if isinstance(argument, Tensor):
            found.append(argument)
        elif isinstance(argument, tuple):
            found += _tensors(argument)
    return found


def _converted(value: Any, convert: Callable[[Tensor], Tensor]) -> Any:
    """`value` with all its tensors converted; a named tuple stays what it is."""
    if isinstance(value, Tensor):
        return convert(value)
    if not isinstance(value, tuple):
        return value
    parts = [_converted(part, convert) for part in value]
    return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)


def _widened(tensor: Tensor, copies: list[tuple[Tensor, Tensor]]) -> Tensor:
    """`tensor`, or a copy in float32 that is noted."""
    if tensor.dtype not in _HALF:
        return tensor
    copies.append((tensor, tensor.float()))
    return copies[-1][1]


def _result_dtype(given: tuple[Any, ...], tensors: list[Tensor]) -> torch.dtype:
    """What results in float32 become."""
    dtypes = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    dtypes.discard(torch.float64)  # beside half precision it is that of sums
    names_a_dtype = any(isinstance(argument, torch.dtype) for argument in given)
    return torch.float32 if names_a_dtype or len(dtypes) != 1 else dtypes.pop()


def _rounded(
    result: Tensor, dtype: torch.dtype, copies: list[tuple[Tensor, Tensor]]
) -> Tensor:
    """`result` in the dtype, or the argument that it is the copy of, written to."""
    for original, copy in copies:
        if result is copy:
            return original.copy_(copy)
    return result.to(dtype) if result.dtype == torch.float32 else result
