"""Centers as images."""

import copy
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits

from skrbf import DeepCenteringClustering, RBFNetClassifier, SoftKMeans
from skrbf.plot import PrototypesDisplay

# The networks of these pictures are hardly trained, and say so.
pytestmark = pytest.mark.filterwarnings("ignore:In its last epoch the network")

X, y = load_digits(n_class=4, return_X_y=True)
X, y = X[:200], y[:200]


@pytest.fixture(scope="module")
def net():
    return RBFNetClassifier(12, max_iter=3, random_state=0).fit(X, y)


def drawn(display):
    return np.array([axis.images[0].get_array() for axis in display.axes_])


def titles(display):
    return [axis.get_title() for axis in display.axes_]


def test_centers_of_clusters():
    model = SoftKMeans(7).fit(X)
    display = PrototypesDisplay.from_estimator(
        model, image_shape=(8, 8), n_prototypes=5, n_columns=3
    )
    assert_array_equal(drawn(display).reshape(5, 64), model.cluster_centers_[:5])
    assert titles(display) == [f"cluster {k}" for k in range(5)]
    assert display.profile_axes_ is None
    left = [round(axis.get_position().x0, 6) for axis in display.axes_]
    assert left[0] < left[1] < left[2]
    assert left[3:] == left[:2]
    limits = {axis.images[0].get_clim() for axis in display.axes_}
    shown = model.cluster_centers_[:5]
    assert limits == {(shown.min(), shown.max())}

    display = PrototypesDisplay.from_estimator(
        model, image_shape=(4, 16), prototypes=[6, 2], imshow_kwargs={"vmax": 99}
    )
    assert_array_equal(drawn(display).reshape(2, 64), model.cluster_centers_[[6, 2]])
    assert titles(display) == ["cluster 6", "cluster 2"]
    assert display.axes_[0].images[0].get_clim()[1] == 99


@pytest.mark.parametrize(
    ("size", "asked", "n_columns"),
    [((2.5, 3), None, 3), ((5, 1.5), None, 7), ((4, 3), 10, 10)],
)
@pytest.mark.parametrize("inner", [False, True])
def test_panels_fill_given_axes(size, asked, n_columns, inner):
    model = SoftKMeans(10).fit(X)
    figure = plt.figure(figsize=size, layout="constrained")
    ax = (figure.subfigures() if inner else figure).add_subplot()
    display = PrototypesDisplay.from_estimator(
        model, image_shape=(8, 8), ax=ax, n_columns=asked
    )
    figure.draw_without_rendering()
    left = {round(axis.get_position().x0, 6) for axis in display.axes_}
    assert len(left) == n_columns
    extents = [axis.title.get_window_extent() for axis in display.axes_]
    assert not any(one.overlaps(after) for one, after in pairwise(extents))


def test_decoded_centers_in_the_shape_of_the_input():
    model = DeepCenteringClustering(
        3, hidden_layer_sizes=(8,), input_shape=(8, 8), pretrain_epochs=2, max_iter=2,
        random_state=0,
    ).fit(X)  # fmt: skip
    display = PrototypesDisplay.from_estimator(model)
    assert_array_equal(drawn(display).reshape(3, 64), model.cluster_centers_decoded_)


def test_units_with_their_profiles(net):
    display = PrototypesDisplay.from_estimator(
        net, image_shape=(8, 8), prototypes=[3, 0, 11]
    )
    assert_array_equal(drawn(display).reshape(3, 64), net.centers_[[3, 0, 11]])
    assert titles(display) == ["unit 3", "unit 0", "unit 11"]
    for unit, axis in zip([3, 0, 11], display.profile_axes_, strict=True):
        heights = [bar.get_height() for bar in axis.patches]
        assert_allclose(heights, net.class_profile_[unit])
        names = [label.get_text() for label in axis.get_xticklabels()]
        assert names == ["0", "1", "2", "3"]


def test_chooses_the_purest_units_of_each_class(net):
    display = PrototypesDisplay.from_estimator(net, image_shape=(8, 8), n_prototypes=6)
    chosen = [int(title.removeprefix("unit ")) for title in titles(display)]
    own, purity = net.class_profile_.argmax(1), net.class_profile_.max(1)
    assert len(set(chosen)) == 6
    assert (np.diff(own[chosen]) >= 0).all()
    per_class = np.bincount(own[chosen], minlength=4)
    assert np.ptp(per_class[np.bincount(own, minlength=4) >= 2]) <= 1
    assert per_class.min() >= 1
    for unit in range(12):
        if unit not in chosen:
            mine = [k for k in chosen if own[k] == own[unit]]
            assert purity[unit] <= purity[mine].min()
    everything = PrototypesDisplay.from_estimator(net, image_shape=(8, 8))
    assert len(everything.axes_) == 12


def test_all_classes_are_represented(net):
    model = copy.copy(net)
    profile = np.full((12, 4), 0.1)
    profile[np.arange(12), [0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3]] = [
        0.9, 0.8, 0.7, 0.2, 0.3, 0.4, 0.5, 0.6, 0.5, 0.9, 0.8, 0.7,
    ]  # fmt: skip
    model.class_profile_ = profile
    display = PrototypesDisplay.from_estimator(
        model, image_shape=(8, 8), n_prototypes=6
    )
    assert titles(display) == [f"unit {k}" for k in (0, 1, 4, 7, 9, 10)]


@pytest.mark.parametrize("n_channels", [1, 3])
def test_channels_come_first(n_channels):
    rows = np.random.default_rng(0).uniform(2, 7, size=(12, n_channels * 6))
    model = SoftKMeans(2, temperature=0).fit(rows)
    display = PrototypesDisplay.from_estimator(model, image_shape=(n_channels, 2, 3))
    centers = model.cluster_centers_.reshape(2, n_channels, 2, 3)
    if n_channels == 1:
        assert_array_equal(drawn(display), centers[:, 0])
        return
    low, high = centers.min(), centers.max()
    shown = drawn(display)
    assert shown.shape == (2, 2, 3, 3)
    for channel in range(3):
        expected = (centers[:, channel] - low) / (high - low)
        assert_allclose(shown[..., channel], expected)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (None, "64 features.*image_shape"),
        ((8, 9), "has 72 values"),
        ((64,), r"\(height, width\)"),
        ((4, 4, 4), "1 or 3 channels"),
    ],
)
def test_image_shapes_that_do_not_fit_raise(net, shape, message):
    with pytest.raises(ValueError, match=message):
        PrototypesDisplay.from_estimator(net, image_shape=shape)


def test_zero_prototypes_raise(net):
    with pytest.raises(ValueError, match="n_prototypes=0"):
        PrototypesDisplay.from_estimator(net, image_shape=(8, 8), n_prototypes=0)
