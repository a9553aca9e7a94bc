"""Responsibilities over a plane."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib.colors import to_rgb
from matplotlib.contour import QuadContourSet
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_iris, make_moons

from skrbf import DeepCenteringClustering, RBFNetClassifier, SoftKMeans
from skrbf.plot import ResponsibilitiesDisplay

RED_BLUE = np.array([[1.0, 0, 0], [0, 0, 1.0]])


@pytest.fixture
def two():
    """Rows about (0, 0) and (4, 2)."""
    X = np.random.default_rng(0).normal(size=(80, 2))
    return X + np.array([4, 2]) * (np.arange(80) % 2)[:, None]


def grid(display):
    left, right, bottom, top = display.extent
    n_vertical, n_horizontal, _ = display.response.shape
    x, y = np.linspace(left, right, n_horizontal), np.linspace(bottom, top, n_vertical)
    return np.array([[(a, b) for a in x] for b in y])


def boundaries(display):
    sets = [c for c in display.ax_.collections if isinstance(c, QuadContourSet)]
    return [path.vertices for each in sets for path in each.get_paths()]


@pytest.mark.parametrize("assignment", ["softmax", "entmax15", "sparsemax"])
@pytest.mark.parametrize("temperature", [0, 0.1])
def test_response_matches_the_reference(two, reference, assignment, temperature):
    model = SoftKMeans(3, temperature=temperature, assignment=assignment).fit(two)
    display = ResponsibilitiesDisplay.from_estimator(model, two, grid_resolution=11)
    places = grid(display)
    expected = reference.responsibilities(
        places.reshape(-1, 2), model.cluster_centers_, model.temperature_, assignment
    )
    assert_allclose(display.response.reshape(-1, 3), expected, atol=1e-9)
    span = np.ptp(two, axis=0)
    assert_allclose(places[0, 0], two.min(0) - 0.1 * span)
    assert_allclose(places[-1, -1], two.max(0) + 0.1 * span)


def test_colors_are_mixed_by_responsibility(two):
    model = SoftKMeans(2, temperature=0).fit(two)
    display = ResponsibilitiesDisplay.from_estimator(
        model, two, grid_resolution=30, colors=RED_BLUE
    )
    image = np.asarray(display.surface_.get_array())
    assert image.shape == (30, 30, 3)
    label = model.predict(grid(display).reshape(-1, 2)).reshape(30, 30)
    red, blue = image[label == 0], image[label == 1]
    assert_allclose(red - red[0], 0, atol=1e-12)
    assert_allclose(blue - blue[0], 0, atol=1e-12)
    assert red[0, 0] == 1.0 == blue[0, 2]
    assert red[0, 1] == red[0, 2] < 0.8
    assert_array_equal(display.rows_.get_offsets(), two)
    assert_allclose(display.rows_.get_facecolors()[:, :3], RED_BLUE[model.labels_])

    # Half way between two centers both colors have the same part.
    model = SoftKMeans(2, temperature=0.2).fit(two)
    middle = model.cluster_centers_.mean(0, keepdims=True)
    display = ResponsibilitiesDisplay.from_estimator(model, middle, colors=RED_BLUE)
    color = display.rows_.get_facecolors()[0]
    assert color[0] == pytest.approx(color[2], abs=1e-6)
    assert 0.5 < color[0] < 1


def test_colors_by_name(two):
    model = SoftKMeans(2, temperature=0).fit(two)
    display = ResponsibilitiesDisplay.from_estimator(model, two, colors=["r", "blue"])
    assert_allclose(display.rows_.get_facecolors()[:, :3], RED_BLUE[model.labels_])
    with pytest.raises(ValueError, match="colors must have 2 entries, got 3"):
        display.plot(colors=["r", "g", "b"])


def test_grid_points_are_pixel_centers(two):
    model = SoftKMeans(2).fit(two)
    display = ResponsibilitiesDisplay.from_estimator(model, two, grid_resolution=11)
    with pytest.raises(ValueError, match="grid_resolution=1 must be an integer"):
        ResponsibilitiesDisplay.from_estimator(model, two, grid_resolution=1)
    left, right, bottom, top = display.surface_.get_extent()
    places = grid(display)
    pixel = (right - left) / 11, (top - bottom) / 11
    assert_allclose((left + pixel[0] / 2, bottom + pixel[1] / 2), places[0, 0])
    assert_allclose((right - pixel[0] / 2, top - pixel[1] / 2), places[-1, -1])
    assert_allclose(display.ax_.get_xlim(), display.extent[:2])


def test_unknown_classes_raise():
    X, y = load_iris(return_X_y=True)
    model = RBFNetClassifier(5, random_state=0).fit(X[:, :2], y)
    with pytest.raises(ValueError, match="classes that are not in classes_"):
        ResponsibilitiesDisplay.from_estimator(model, X[:, :2], y + 1)


def test_boundary_is_the_bisector(two):
    model = SoftKMeans(2, temperature=0.1).fit(two)
    display = ResponsibilitiesDisplay.from_estimator(model, two)
    a, b = model.cluster_centers_
    lines = boundaries(display)
    assert lines
    for line in lines:
        off = (line - (a + b) / 2) @ (b - a) / np.linalg.norm(b - a)
        assert np.abs(off).max() < 0.02


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_coincident_centers(two):
    model = SoftKMeans(5, temperature=1.5).fit(two)
    display = ResponsibilitiesDisplay.from_estimator(model, two, grid_resolution=20)
    assert boundaries(display) == []
    image = np.asarray(display.surface_.get_array())
    assert_allclose(image - image[0, 0], 0, atol=1e-12)
    assert [text.get_text() for text in display.ax_.texts] == ["5x"]


def test_centers_and_widths_of_clusters(two):
    model = SoftKMeans(3).fit(two)
    display = ResponsibilitiesDisplay.from_estimator(model, two, n_widths=2, margin=1)
    x = two[:, 0]
    assert_allclose(
        display.ax_.get_xlim(), [2 * x.min() - x.max(), 2 * x.max() - x.min()]
    )
    centers = [ellipse.get_center() for ellipse in display.ellipses_]
    assert_allclose(centers, model.cluster_centers_)
    for ellipse in display.ellipses_:
        assert ellipse.width == pytest.approx(4 * model.sigma_)
        assert ellipse.height == pytest.approx(4 * model.sigma_)
    numbers = {text.get_text(): text.xy for text in display.ax_.texts}
    for k, center in enumerate(model.cluster_centers_):
        assert_allclose(numbers[str(k)], center)


def test_units_of_a_classifier():
    X, y = make_moons(120, noise=0.2, random_state=0)
    y = np.array(["lower", "upper"])[y]
    model = RBFNetClassifier(6, random_state=0).fit(X, y)
    display = ResponsibilitiesDisplay.from_estimator(
        model, X, y, grid_resolution=9, colors=RED_BLUE
    )
    places = grid(display).reshape(-1, 2)
    assert_allclose(display.response.reshape(-1, 2), model.predict_proba(places))
    found = [(*e.get_center(), e.width / 2, e.height / 2) for e in display.ellipses_]
    assert_allclose(found, np.hstack([model.centers_, model.widths_]))
    colors = display.rows_.get_facecolors()[:, :3]
    assert_allclose(colors, RED_BLUE[(y == "upper").astype(int)])
    legend = display.ax_.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["lower", "upper"]
    assert_allclose(
        [to_rgb(handle.get_color()) for handle in legend.legend_handles], RED_BLUE
    )

    # Without y the rows have the colors of their probabilities.
    display = ResponsibilitiesDisplay.from_estimator(model, X, colors=RED_BLUE)
    light = display.rows_.get_facecolors()[:, 2] ** 2.2
    assert_allclose(light, model.predict_proba(X)[:, 1], atol=1e-6)


def test_decoded_centers_of_deep_clustering(two):
    model = DeepCenteringClustering(
        2, n_components=2, hidden_layer_sizes=(8,), max_iter=2, random_state=0
    ).fit(two)
    display = ResponsibilitiesDisplay.from_estimator(model, two, grid_resolution=7)
    assert_array_equal(display.centers, model.cluster_centers_decoded_)
    assert display.ellipses_ == []
    places = grid(display).reshape(-1, 2)
    assert_allclose(display.response.reshape(-1, 2), model.predict_proba(places))


@pytest.mark.parametrize("frame", [np.asarray, pd.DataFrame, pl.from_pandas])
def test_slice_through_more_features(frame):
    iris = load_iris(as_frame=True).data
    X = frame(iris)
    model = RBFNetClassifier(5, random_state=0).fit(X, load_iris().target)
    named = frame is not np.asarray
    display = ResponsibilitiesDisplay.from_estimator(
        model,
        X,
        features=("petal width (cm)", 0) if named else (3, 0),
        grid_resolution=4,
    )
    values = iris.to_numpy()
    places = np.tile(values.mean(0), (16, 1))
    places[:, [3, 0]] = grid(display).reshape(-1, 2)
    expected = RBFNetClassifier(5, random_state=0).fit(values, load_iris().target)
    assert_allclose(
        display.response.reshape(-1, 3), expected.predict_proba(places), atol=1e-12
    )
    assert_array_equal(display.rows_.get_offsets(), values[:, [3, 0]])
    assert_array_equal(display.centers, model.centers_[:, [3, 0]])
    names = ["petal width (cm)", "sepal length (cm)"] if named else None
    labels = [display.ax_.get_xlabel(), display.ax_.get_ylabel()]
    assert labels == (names or ["feature 3", "feature 0"])


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (None, r"X has 3 features.*features=\(i, j\)"),
        ((0, 3), "features="),
        ((1, 1), "features="),
        ((0,), "features="),
        (("a", "b"), "features="),
        ((0.0, 1.0), "features="),
    ],
)
def test_invalid_features_raise(make_data, features, message):
    X = make_data("uniform", 30)
    with pytest.raises(ValueError, match=message):
        ResponsibilitiesDisplay.from_estimator(
            SoftKMeans(2).fit(X), X, features=features
        )
