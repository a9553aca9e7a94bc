"""Fingerprints: equal in any process for values made in the same way."""

import copy
import json
import os
import pickle
import subprocess
import sys
from functools import partial
from types import SimpleNamespace as Holding

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from torch import nn

from skrbf._deep_centering.fingerprint import fingerprint
from skrbf.nn import ConvAutoencoder, DenseAutoencoder, RandomAffine

ATOMS = st.none() | st.integers() | st.text(max_size=3)
HASHABLE = st.recursive(ATOMS, st.frozensets, max_leaves=5)
DTYPES = st.sampled_from([np.float32, np.float64, np.int8, np.int64, np.bool_])
ARRAYS = DTYPES.flatmap(lambda dtype: arrays(dtype, array_shapes(min_side=0)))

VALUES = {
    "function": lambda: copy.copy,
    "function of torch": lambda: torch.relu,
    "method of a class": lambda: torch.Tensor.abs,
    "method": lambda: nn.Dropout(0.3).forward,
    "partial": lambda: partial(copy.copy, x={"a", "bb", "ccc", 4}),
    "class": lambda: nn.Linear,
    "sets": lambda: Holding(x={frozenset("ab"), frozenset("cd"), "e", None}),
    "mixed keys": lambda: Holding(x={1: 2, "two": 3, None: 4}),
    "arrays": lambda: Holding(x=[np.arange(3.0), np.array([1, "a"], dtype=object)]),
    "tensors": lambda: Holding(x=[torch.arange(3.0), torch.ones(2).bfloat16()]),
    "words of torch": lambda: Holding(x=[torch.float32, torch.device("cpu")]),
    "affine": lambda: RandomAffine(5),
    "dense": lambda: DenseAutoencoder(4, 2, (3,)),
    "conv": lambda: ConvAutoencoder((8, 8), 2),
    "recurrent": lambda: nn.LSTM(2, 3),
}


def fingerprints():
    found = {}
    for name, make in VALUES.items():
        torch.manual_seed(0)
        found[name] = fingerprint(make())
    return found


def test_another_process_has_the_same_fingerprints():
    """With another order of sets and other addresses of tensors."""
    script = f"import runpy, json; found = runpy.run_path({__file__!r})"
    script += "; print(json.dumps(found['fingerprints']()))"
    env = {**os.environ, "PYTHONHASHSEED": "7"}
    run = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, check=True
    )
    assert json.loads(run.stdout) == fingerprints()


@pytest.mark.parametrize("make", VALUES.values(), ids=VALUES.keys())
def test_a_copy_has_the_same_fingerprint(make):
    value = make()
    for same in (copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert fingerprint(same) == fingerprint(value)


@given(values=st.lists(HASHABLE, max_size=5))
def test_the_order_of_a_set_has_no_effect(values):
    one, other = set(values), {*reversed(values)}
    assert fingerprint(one) == fingerprint(other) == fingerprint(frozenset(one))
    assert fingerprint(Holding(x=one)) == fingerprint(Holding(x=other))


@given(table=ARRAYS)
def test_the_memory_layout_of_a_table_has_no_effect(table):
    spread = np.repeat(table, 2, axis=-1)[..., ::2]
    for same in (np.asfortranarray(table), spread):
        assert fingerprint(same) == fingerprint(table)
        of_torch = fingerprint(torch.from_numpy(same))
        assert of_torch == fingerprint(torch.from_numpy(table.copy()))
    assert fingerprint(table[None]) != fingerprint(table)
    if table.size:
        other = table.copy()
        other.flat[-1] = not other.flat[-1]
        assert fingerprint(other) != fingerprint(table)
        assert fingerprint(Holding(x=table)) != fingerprint(Holding(x=other))


@given(number=st.booleans() | st.integers(-(2**31), 2**31) | st.floats(width=32))
def test_numbers_of_numpy_equal_those_of_python(number):
    assert fingerprint([np.asarray(number)[()]]) == fingerprint([number])


def test_different_values_have_different_fingerprints():
    torch.manual_seed(0)
    frozen = nn.Linear(2, 2).requires_grad_(requires_grad=False)
    tanh_first = nn.Sequential(nn.ModuleDict({"b": nn.Tanh(), "a": nn.ReLU()}))
    relu_first = nn.Sequential(nn.ModuleDict({"a": nn.ReLU(), "b": nn.Tanh()}))
    different = [make() for make in VALUES.values()]
    different += [
        tanh_first, relu_first, frozen, copy.deepcopy(frozen).requires_grad_(),
        nn.Linear(2, 2), nn.Linear(2, 2).bfloat16(), nn.LazyLinear(3), nn.LazyLinear(4),
        RandomAffine(6), partial(copy.copy, x=1), partial(copy.copy, x=2),
        partial(copy.deepcopy, x=1),
        nn.Dropout(0.4).forward, nn.ReLU, nn.LeakyReLU(0.1), nn.LeakyReLU(0.2),
        None, True, 1, 1.0, "1", (1, 2), (2, 1), {1, 2}, {1: 2}, torch.float32,
        np.arange(3), np.arange(3.0), torch.arange(3), torch.arange(3.0),
    ]  # fmt: skip
    assert len({fingerprint(each) for each in different}) == len(different)
