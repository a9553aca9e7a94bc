"""Displays take what `fit` takes, and say what is wrong with the rest."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.datasets import load_iris

from skrbf import DeepCenteringClustering, RBFNetClassifier, SoftKMeans
from skrbf.plot import (
    AnnealingPathDisplay,
    CodesDisplay,
    PrototypesDisplay,
    ResponsibilitiesDisplay,
    TrainingHistoryDisplay,
)

X, y = load_iris(return_X_y=True)
NAMES = list("abcd")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

MODELS = {
    "soft": SoftKMeans(3),
    "net": RBFNetClassifier(6, max_iter=2, random_state=0),
    "deep": DeepCenteringClustering(
        3,
        n_components=2,
        hidden_layer_sizes=(4,),
        pretrain_epochs=2,
        max_iter=1,
        random_state=0,
    ),
}
CONTAINERS = {
    "array": np.asarray,
    "float32": lambda X: X.astype(np.float32),
    "fortran": np.asfortranarray,
    "list": lambda X: X.tolist(),
    "masked": np.ma.masked_array,
    "csr": csr_array,
    "pandas": lambda X: pd.DataFrame(X, columns=NAMES),
    "pandas, numbered": pd.DataFrame,
    "polars": lambda X: pl.DataFrame(X, schema=NAMES),
    "tensor": torch.tensor,
    "tensor with gradient": lambda X: torch.tensor(X, requires_grad=True),
}
CLASSES = {
    "list": y.tolist(),
    "column": y[:, None],
    "bool": y == 0,
    "float": y.astype(float),
    "str": np.array(["a", "b", "c"])[y],
    "object": np.array(["a", "b", "c"], dtype=object)[y],
    "series": pd.Series(y, index=np.arange(150)[::-1]),
    "words": pd.Series(np.array(["a", "b", "c"])[y]),
    "category": pd.Series(np.array(["a", "b", "c"])[y], dtype="category"),
    "polars": pl.Series(y),
    "masked": np.ma.masked_array(y, np.zeros(150, bool)),
    "tensor": torch.tensor(y),
    "tensor of int8": torch.tensor(y, dtype=torch.int8),
    "tensor of bfloat16": torch.tensor(y, dtype=torch.bfloat16),
    "tensor with gradient": torch.tensor(y, dtype=torch.float16, requires_grad=True),
}
containers = pytest.mark.parametrize("kind", CONTAINERS)
classes = pytest.mark.parametrize("given", CLASSES.values(), ids=CLASSES.keys())


def named(kind):
    return kind in ("pandas", "polars")


@containers
@pytest.mark.parametrize("model", MODELS)
def test_responsibilities_of_any_rows(model, kind):
    rows = CONTAINERS[kind](X)
    model = MODELS[model].fit(rows, y)
    pairs = [(0, 2), [0, 2], np.array([0, 2])]
    pairs += [("a", "c"), ["a", 2], np.array(["a", "c"])] if named(kind) else []
    for pair in pairs:
        display = ResponsibilitiesDisplay.from_estimator(
            model, rows, features=pair, grid_resolution=3
        )
        assert_allclose(display.rows, X[:, [0, 2]], rtol=1e-6)
        labels = display.ax_.get_xlabel(), display.ax_.get_ylabel()
        expected = ("a", "c") if named(kind) else ("feature 0", "feature 2")
        assert labels == expected


@containers
def test_codes_and_annealing_accept_any_container(kind):
    rows = CONTAINERS[kind](X)
    model = MODELS["deep"].fit(rows)
    assert CodesDisplay.from_estimator(model, rows).codes.shape == (150, 2)
    path = {"temperatures": [1.5, 0.1]}
    for weight in (None, np.ones(150), [2] * 150, pd.Series(np.ones(150)), 2.0):
        display = AnnealingPathDisplay.from_estimator(
            SoftKMeans(2), rows, weight, **path
        )
        assert display.n_effective[0] == pytest.approx(1, abs=0.01)


@classes
def test_any_container_of_classes(given):
    is_tensor = isinstance(given, torch.Tensor)
    flat = np.asarray(given.tolist() if is_tensor else given).reshape(-1)
    net = MODELS["net"].fit(X[:, :2], given if is_tensor else flat)
    display = ResponsibilitiesDisplay.from_estimator(
        net, X[:, :2], given, grid_resolution=3
    )
    assert_array_equal(net.classes_[display.row_response.argmax(1)], flat)
    assert_array_equal(display.row_response.sum(1), 1)
    deep = MODELS["deep"].fit(X)
    drawn = CodesDisplay.from_estimator(deep, X, given)
    assert_array_equal(drawn.labels, flat)
    texts = [text.get_text() for text in drawn.ax_.get_legend().get_texts()]
    assert texts == [str(name) for name in np.unique(flat)]


@pytest.mark.parametrize("missing", [None, np.nan])
def test_missing_labels_are_a_class_of_codes(missing):
    given = np.where(y == 0, missing, np.array(["b", "c", "a"], dtype=object)[y])
    drawn = CodesDisplay.from_estimator(MODELS["deep"].fit(X), X, given)
    texts = [text.get_text() for text in drawn.ax_.get_legend().get_texts()]
    assert sorted(texts) == sorted([str(missing), "a", "c"])
    colors = drawn.rows_.get_facecolors()
    for label in range(3):
        assert len(np.unique(colors[y == label], axis=0)) == 1
    assert len(np.unique(colors, axis=0)) == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (y[:10], r"inconsistent numbers of samples: \[150, 10\]"),
        (np.column_stack([y, y]), "1d array"),
        (1, "1d array"),
    ],
)
def test_invalid_classes_raise(given, message):
    net, deep = MODELS["net"].fit(X[:, :2], y), MODELS["deep"].fit(X)
    with pytest.raises(ValueError, match=message):
        ResponsibilitiesDisplay.from_estimator(net, X[:, :2], given)
    with pytest.raises(ValueError, match=message):
        CodesDisplay.from_estimator(deep, X, given)


@pytest.mark.parametrize(
    "given",
    [
        np.array(["a", "b", "c"])[y],
        np.where(y == 0, "new", "known"),
        y + 0.5,
    ],
)
def test_unknown_classes_raise(given):
    net = MODELS["net"].fit(X[:, :2], y)
    with pytest.raises(ValueError, match=r"y has classes that are not in classes_"):
        ResponsibilitiesDisplay.from_estimator(net, X[:, :2], given)


WORDS = np.array(["a", "b", "c"], dtype=object)[y]
MISSING = {
    "None": np.where(y == 0, None, WORDS),
    "NaN": np.where(y == 0, np.nan, WORDS),
    "NaN in a list": [np.nan, *WORDS[1:]],
    "None in a list": [*y[1:].tolist(), None],
    "NA": np.where(y == 0, pd.NA, WORDS),
    "strings": pd.Series(WORDS).where(y > 0).astype("string"),
    "category": pd.Series(WORDS).where(y > 0).astype("category"),
    "Int64": pd.Series(y).where(y > 0).astype("Int64"),
    "null": pl.Series([None, *WORDS[1:]]),
    "masked": np.ma.masked_array(y, y == 1),
    "masked words": np.ma.masked_array(WORDS, y == 1),
    "float": np.where(y == 0, np.nan, y),
    "tensor": torch.where(torch.tensor(y) == 0, np.nan, 1.0).bfloat16(),
}


@pytest.mark.parametrize("given", MISSING.values(), ids=MISSING.keys())
def test_missing_labels_raise(given):
    message = "y has missing labels"
    net = MODELS["net"].fit(X[:, :2], y)
    with pytest.raises(ValueError, match=message):
        ResponsibilitiesDisplay.from_estimator(net, X[:, :2], given)
    for fit in (net.fit, net.partial_fit):
        with pytest.raises(ValueError, match=message):
            fit(X[:, :2], given)
    with pytest.raises(ValueError, match="classes has missing labels"):
        net.partial_fit(X[:, :2], y, classes=given)
    if "masked" in str(type(given)).lower():
        with pytest.raises(ValueError, match=message):
            CodesDisplay.from_estimator(MODELS["deep"].fit(X), X, given)


@pytest.mark.parametrize(
    "features", ["ac", "a", 0, ("a", "x"), (0, 4), (True, False), (-1, 0), (0, "a")]
)
def test_invalid_features_raise(features):
    rows = pd.DataFrame(X, columns=NAMES)
    with pytest.raises(ValueError, match=r"features=.*by index from 0 to 3 or by name"):
        ResponsibilitiesDisplay.from_estimator(
            SoftKMeans(2).fit(rows), rows, features=features
        )


def test_invalid_rows_raise():
    soft = SoftKMeans(2).fit(X)
    for rows, message in (
        (X[:, :3], "X has 3 features, but SoftKMeans is expecting 4"),
        (X[0], "1D array"),
        (np.full((2, 4), np.nan), "contains NaN"),
        (X[:0], r"0 sample\(s\)"),
    ):
        with pytest.raises(ValueError, match=message):
            ResponsibilitiesDisplay.from_estimator(soft, rows, features=(0, 1))


@pytest.mark.parametrize("shape", [8, "8x8", (8,), (2.0, 2.0), (-2, -2), (2, 2, 1)])
def test_invalid_image_shapes_raise(shape):
    with pytest.raises(ValueError, match=r"image_shape=.* must be"):
        PrototypesDisplay.from_estimator(SoftKMeans(2).fit(X), image_shape=shape)


def test_invalid_settings_raise():
    soft = SoftKMeans(2).fit(X)
    for number in (0, 2.5, "all", True, np.bool_(1)):
        with pytest.raises(ValueError, match="n_prototypes="):
            PrototypesDisplay.from_estimator(
                soft, image_shape=(2, 2), n_prototypes=number
            )
        with pytest.raises(ValueError, match="grid_resolution="):
            ResponsibilitiesDisplay.from_estimator(soft, X, grid_resolution=number)
        drawn = PrototypesDisplay.from_estimator(soft, image_shape=(2, 2))
        with pytest.raises(ValueError, match="n_columns="):
            drawn.plot(n_columns=number)
    display = ResponsibilitiesDisplay.from_estimator(soft, X, features=(0, 1))
    for number in (-1, "a", np.nan, np.inf, None, True):
        with pytest.raises(ValueError, match="margin="):
            ResponsibilitiesDisplay.from_estimator(
                soft, X, features=(0, 1), margin=number
            )
        with pytest.raises(ValueError, match="n_widths="):
            display.plot(n_widths=number)
    for kind in (SoftKMeans, RBFNetClassifier):
        with pytest.raises(TypeError, match="is a class, not an instance"):
            AnnealingPathDisplay.from_estimator(kind, X)
    with pytest.raises(ValueError, match="AnnealingPathDisplay draws SoftKMeans, not"):
        AnnealingPathDisplay.from_estimator(3, X)
    for quantities in ("objective", 3, []):
        with pytest.raises(ValueError, match="quantities must be"):
            TrainingHistoryDisplay.from_estimator(soft, quantities=quantities)
    for temperatures in ([0, 1], [np.nan, 1], [np.inf], 1, []):
        with pytest.raises(ValueError, match="temperatures must be"):
            AnnealingPathDisplay.from_estimator(
                SoftKMeans(2), X, temperatures=temperatures
            )


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.int64])
def test_small_integers_of_numpy_do_not_overflow(kind):
    soft = SoftKMeans(3).fit(X)
    drawn = {}
    for made in (int, kind):
        display = ResponsibilitiesDisplay.from_estimator(
            soft,
            X,
            features=(made(0), made(1)),
            grid_resolution=made(100),
            margin=made(1),
            n_widths=made(100),
        )
        images = PrototypesDisplay.from_estimator(
            soft, image_shape=(made(2), made(2)), n_prototypes=made(100)
        ).plot(n_columns=made(2))
        sizes = [(e.width, e.height) for e in display.ellipses_]
        drawn[made] = display.response, display.extent, sizes, images.images
    for one, other in zip(drawn[int], drawn[kind], strict=True):
        assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_may_be_a_tensor(dtype):
    weight = torch.ones(150, dtype=dtype, requires_grad=True)
    display = AnnealingPathDisplay.from_estimator(
        SoftKMeans(2), X, weight, temperatures=[1.5, 0.1]
    )
    assert display.n_effective[0] == pytest.approx(1, abs=0.01)
