"""Validation of the arguments of layers."""

import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from skrbf.ops.precision import compute_dtype


def validate_centers(centers: Any) -> Tensor:
    """Return `centers` if they are a finite matrix; else raise an error."""
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
    """Flatten rows (..., d) to a matrix (n, d) in the dtype to compute in.

    Values beyond the range of that dtype become its largest. Raises if the rows are not
    a dense real tensor with as many features as the centers.
    """
    check_dense("rows", rows)
    if rows.is_complex():
        raise TypeError(f"rows must be real, got {rows.dtype}.")
    n_features = centers.shape[1]
    if rows.shape[-1:] != (n_features,):
        raise ValueError(
            f"rows must have {n_features} features along the last axis, like the "
            f"centers; got a tensor of shape {tuple(rows.shape)}."
        )
    flat, dtype = rows.reshape(-1, n_features), compute_dtype(centers.dtype)
    limit = torch.finfo(dtype).max
    if flat.is_floating_point() and torch.finfo(flat.dtype).max > limit:
        flat = flat.clamp(-limit, limit)
    return flat.to(dtype)


def check_dense(name: str, value: Any) -> None:
    """Raise if an argument is not a dense tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(value).__name__}.")
    if value.layout != torch.strided or value.is_nested:
        kind = "nested" if value.is_nested else value.layout
        raise TypeError(
            f"{name} must be a dense tensor, got {kind}; use {name}.to_dense()."
        )


def validate_count(name: str, value: Any) -> int:
    """Return a positive integer, also from numpy, as an int; else raise an error."""
    try:
        count = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        count = 0
    if count < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}.")
    return count


def validate_counts(name: str, values: Any) -> tuple[int, ...]:
    """Return positive integers as a tuple; else raise an error."""
    try:
        return tuple(validate_count(name, value) for value in values)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be a sequence of positive integers, got {values!r}."
        ) from error


def check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Raise if an argument is not one of the allowed strings."""
    if not (isinstance(value, str) and value in choices):
        raise ValueError(f"{name} must be one of {sorted(choices)}, got {value!r}.")


def all_true(condition: Tensor) -> bool:
    """Check a condition everywhere; a tensor on the meta device passes."""
    return condition.is_meta or bool(torch.all(condition))
