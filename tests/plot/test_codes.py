"""CodesDisplay."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_iris

from skrbf import DeepCenteringClustering
from skrbf.plot import CodesDisplay

# The networks of these displays are hardly trained, and warn.
pytestmark = pytest.mark.filterwarnings("ignore:In its last epoch the network")

X, y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])


def deep(n_components):
    return DeepCenteringClustering(
        3,
        n_components=n_components,
        hidden_layer_sizes=(16,),
        pretrain_epochs=10,
        max_iter=3,
        random_state=0,
    ).fit(X)


def test_projects_on_the_plane_of_largest_variance():
    model = deep(4)
    display = CodesDisplay.from_estimator(model, X)
    codes = model.transform(X)
    values, axes = np.linalg.eigh(np.cov(codes.T))
    plane = axes[:, [-1, -2]]
    expected = (codes - codes.mean(0)) @ plane
    shown = np.asarray(display.rows_.get_offsets())
    turn = np.sign((expected * shown).sum(0))  # an axis has no sign
    assert_allclose(shown, expected * turn, atol=1e-5)
    centers = (model.cluster_centers_ - codes.mean(0)) @ plane * turn
    assert_allclose(display.centers_.get_offsets(), centers, atol=1e-5)
    assert f"{values[-1] / values.sum():.0%}" in display.ax_.get_xlabel()
    assert f"{values[-2] / values.sum():.0%}" in display.ax_.get_ylabel()


def test_two_components_are_not_projected():
    model = deep(2)
    display = CodesDisplay.from_estimator(model, X)
    assert_array_equal(display.rows_.get_offsets(), model.transform(X))
    assert_array_equal(display.centers_.get_offsets(), model.cluster_centers_)
    assert display.ax_.get_xlabel() == "code 0"


@pytest.mark.parametrize("given", [None, NAMES[y]])
def test_colors_match_the_legend(given):
    model = deep(2)
    display = CodesDisplay.from_estimator(model, X, given)
    expected = model.labels_ if given is None else given
    legend = display.ax_.get_legend()
    color_of = {
        text.get_text(): to_rgb(handle.get_color())
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    assert set(color_of) == {str(name) for name in expected}
    assert legend.get_title().get_text() == ("cluster" if given is None else "class")
    assert len(set(color_of.values())) == 3
    colors = display.rows_.get_facecolors()[:, :3]
    assert_allclose(colors, [color_of[str(name)] for name in expected])


def test_many_labels_have_no_legend():
    display = CodesDisplay.from_estimator(deep(2), X, np.arange(150) % 11)
    assert display.ax_.get_legend() is None
    assert len(np.unique(display.rows_.get_facecolors(), axis=0)) == 10


def test_equal_codes_raise():
    with pytest.raises(ValueError, match="all samples are equal"):
        CodesDisplay.from_estimator(deep(3), X[:1])
    assert CodesDisplay.from_estimator(deep(2), X[:1]).codes.shape == (1, 2)


def test_pandas_output():
    model = deep(2)
    expected = CodesDisplay.from_estimator(model, X).codes
    frames = CodesDisplay.from_estimator(model.set_output(transform="pandas"), X)
    assert_array_equal(frames.rows_.get_offsets(), expected)


def test_wrong_number_of_classes_raises():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        CodesDisplay.from_estimator(deep(2), X, np.arange(30))


def test_one_component_raises():
    with pytest.raises(ValueError, match="n_components=2"):
        CodesDisplay.from_estimator(deep(1), X)
