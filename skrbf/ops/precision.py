"""Half precision: computed in single precision, with or without autocast."""

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
    """Wrap a function to compute half precision in float32, with autocast off.

    Half-precision arguments are converted to float32, and float32 results back to half
    precision. Both may be tensors and tuples of tensors. Results stay in float32 if an
    argument is a dtype (of the results) or a tensor of higher precision than half,
    other than float64. An argument that the function writes to and returns, such as
    ``out``, is written to.

    Notes
    -----
    Costs one or two microseconds if there is nothing to convert. Half precision has no
    room for sums of squares, for tolerances made for float32, or for small
    exponentials. Autocast would convert some of the operations to it.

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
            result: _Result = _call_in_single(function, args, options)
            return result
        return function(*args, **options)

    return wrapper


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype that `full_precision` computes in for tensors of a dtype."""
    return torch.float32 if dtype in _HALF else dtype


def _is_reduced(arguments: Iterable[Any]) -> bool:
    """Check for half precision, or for autocast that would introduce it."""
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
    # The device "meta" has no autocast, and a query raises an error.
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def _call_in_single(
    function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    arguments = (*args, *options.values())
    tensors = _tensors(arguments)
    copies: list[tuple[Tensor, Tensor]] = []
    wide_args, wide_options = (
        _convert(part, lambda tensor: _to_single(tensor, copies))
        for part in (args, tuple(options.values()))
    )
    device = tensors[0].device
    autocasts = _autocasts(device)
    with torch.autocast(device.type, enabled=False) if autocasts else nullcontext():
        result = function(*wide_args, **dict(zip(options, wide_options, strict=True)))
    dtype = _result_dtype(arguments, tensors)
    return _convert(result, lambda tensor: _to_result_dtype(tensor, dtype, copies))


def _tensors(arguments: Iterable[Any]) -> list[Tensor]:
    """Return all tensors among the arguments and in tuples of them."""
    tensors = []
    for argument in arguments:
        if isinstance(argument, Tensor):
            tensors.append(argument)
        elif isinstance(argument, tuple):
            tensors += _tensors(argument)
    return tensors


def _convert(value: Any, convert: Callable[[Tensor], Tensor]) -> Any:
    """Convert the tensors of a value; a named tuple keeps its type."""
    if isinstance(value, Tensor):
        return convert(value)
    if not isinstance(value, tuple):
        return value
    parts = [_convert(part, convert) for part in value]
    return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)


def _to_single(tensor: Tensor, copies: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the tensor, or a float32 copy that is added to `copies`."""
    if tensor.dtype not in _HALF:
        return tensor
    copies.append((tensor, tensor.float()))
    return copies[-1][1]


def _result_dtype(arguments: tuple[Any, ...], tensors: list[Tensor]) -> torch.dtype:
    """Return the dtype that float32 results are converted to."""
    dtypes = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    dtypes.discard(torch.float64)  # beside half precision, float64 is the dtype of sums
    names_a_dtype = any(isinstance(argument, torch.dtype) for argument in arguments)
    return torch.float32 if names_a_dtype or len(dtypes) != 1 else dtypes.pop()


def _to_result_dtype(
    result: Tensor, dtype: torch.dtype, copies: list[tuple[Tensor, Tensor]]
) -> Tensor:
    """Convert a result, or write it to the argument that it is the copy of."""
    for original, copy in copies:
        if result is copy:
            return original.copy_(copy)
    return result.to(dtype) if result.dtype == torch.float32 else result
