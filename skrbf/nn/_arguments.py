"""What the layers ask of their arguments."""

import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from skrbf.ops.precision import compute_dtype


def validate_centers(centers: Any) -> Tensor:
    """`centers`, if layers can start from them: a finite matrix; else an error."""
    if not (isinstance(centers, Tensor) and centers.is_floating_point()):
        raise TypeError(
            "centers must be a tensor of floating point numbers, such as "
            f"torch.from_numpy(array); got {type(centers).__name__}"
            f"{' of ' + str(centers.dtype) if hasattr(centers, 'dtype') else ''}."
        )
    check_dense("centers", centers)
    if centers.ndim != 2 or 0 in centers.shape:
        raise ValueError(
            "centers must be a matrix of at least one row and one column, got a tensor "
            f"of shape {tuple(centers.shape)}."
        )
    if not all_true(centers.isfinite()):
        raise ValueError("centers must be finite, without NaN.")
    return centers


def flatten_rows(rows: Any, centers: Tensor) -> Tensor:
    """Rows (..., d) as a matrix (n, d) of the precision computed in; or an error.

    What that precision cannot hold becomes its largest number.
    """
    check_dense("rows", rows)
    if rows.is_complex():
        raise TypeError(f"rows must hold real numbers, and are {rows.dtype}.")
    n_features = centers.shape[1]
    if rows.shape[-1:] != (n_features,):
        raise ValueError(
            f"rows must have {n_features} features along their last axis, as the "
            f"centers do; got a tensor of shape {tuple(rows.shape)}."
        )
    flat, dtype = rows.reshape(-1, n_features), compute_dtype(centers.dtype)
    most = torch.finfo(dtype).max
    if flat.is_floating_point() and torch.finfo(flat.dtype).max > most:
        flat = flat.clamp(-most, most)
    return flat.to(dtype)


def check_dense(name: str, value: Any) -> None:
    """Raise where an argument is no tensor, or one that is not dense."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(value).__name__}.")
    if value.layout != torch.strided or value.is_nested:
        kind = "nested" if value.is_nested else value.layout
        raise TypeError(
            f"{name} must be a dense tensor, and it is {kind}; use {name}.to_dense()."
        )


def validate_count(name: str, value: Any) -> int:
    """A positive integer, also one of numpy; else an error."""
    try:
        count = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        count = 0
    if count < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}.")
    return count


def validate_counts(name: str, values: Any) -> tuple[int, ...]:
    """A tuple of positive integers, of a sequence or an array; else an error."""
    try:
        return tuple(validate_count(name, value) for value in values)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be a sequence of positive integers, got {values!r}."
        ) from error


def check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Raise where an argument is none of some strings."""
    if not (isinstance(value, str) and value in choices):
        raise ValueError(f"{name} must be one of {sorted(choices)}, got {value!r}.")


def all_true(condition: Tensor) -> bool:
    """Whether a condition is met everywhere, as far as there are values to tell."""
    return condition.is_meta or bool(torch.all(condition))
