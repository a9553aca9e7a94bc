"""Fingerprints that compare parameters and weights across processes."""

import joblib
import numpy as np
import torch
from joblib.hashing import Hasher, NumpyHasher
from torch import nn


def fingerprint(value):
    """Hash a value by its pickle: equal in every process that makes it the same way.

    A function or class counts by its qualified name alone, an object by what its pickle
    holds at the time of the call.

    Parameters
    ----------
    value : object

    Returns
    -------
    text : str
        Hexadecimal.

    Raises
    ------
    Exception
        Of whatever type pickling raises for a value that it cannot take.
    """
    return _ValueHasher().hash(value)


class _ValueHasher(NumpyHasher):
    """The hasher of `joblib.hash`, made independent of addresses and of set order."""

    def save(self, obj):
        super().save(_as_values(obj))

    def _batch_setitems(self, items, *args):
        # joblib sorts dictionaries, but their order is that of the layers of a network.
        super(Hasher, self)._batch_setitems(items, *args)


def _as_values(value):
    """Replace a value by one whose pickle depends on nothing else than the value."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, set | frozenset):  # hash randomization changes their order
        return "set", sorted(map(fingerprint, value))
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return joblib.hash(np.array(value, order="C"))  # strides count for joblib
    if isinstance(value, torch.Tensor) and not nn.parameter.is_lazy(value):
        whole = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        flat = whole.reshape(-1).view(torch.uint8)
        layout = str(value.dtype), tuple(value.shape), value.requires_grad
        return *layout, joblib.hash(flat.numpy())  # pickled storages hold addresses
    return value
