"""TrainingHistoryDisplay."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.testing import assert_array_equal
from sklearn.datasets import load_iris

from skrbf import DeepCenteringClustering, RBFNetClassifier, SoftKMeans
from skrbf.plot import TrainingHistoryDisplay

# The networks of these pictures are hardly trained, and say so.
pytestmark = pytest.mark.filterwarnings("ignore:In its last epoch the network")

X, y = load_iris(return_X_y=True)


def soft():
    return SoftKMeans(3, temperature=0.1).fit(X)


def net(**params):
    return RBFNetClassifier(5, max_iter=8, random_state=0, **params).fit(X, y)


def deep():
    return DeepCenteringClustering(
        3, hidden_layer_sizes=(8,), pretrain_epochs=3, max_iter=4, tol=0, random_state=0
    ).fit(X)


KINDS = {
    "soft": (soft, ["objective", "n_clusters"]),
    "net": (lambda: net(tol=0.0), ["loss"]),
    "early": (lambda: net(early_stopping=True), ["loss", "validation_score"]),
    "deep": (deep, ["reconstruction_loss", "clustering_loss", "label_change"]),
}


def ends(band):
    """Left and right end of a band, in steps."""
    corners = band.axes.transData.inverted().transform(band.get_window_extent())
    return corners[:, 0]


@pytest.mark.parametrize(("fitted", "usual"), KINDS.values(), ids=KINDS.keys())
def test_curves_and_phases(fitted, usual):
    model = fitted()
    display = TrainingHistoryDisplay.from_estimator(model)
    history = model.history_
    assert list(display.quantities) == usual
    assert len(display.axes_) == len(display.lines_) == len(usual)
    steps = np.arange(1, len(history["phase"]) + 1)
    for name, line, axis in zip(usual, display.lines_, display.axes_, strict=True):
        assert line.axes is axis
        assert axis.get_ylabel().split()[-1] == name.split("_")[-1]
        assert_array_equal(line.get_xdata(), steps)
        assert_array_equal(line.get_ydata(), history[name])

    # The band behind every step is that of its phase.
    legend = display.axes_[0].get_legend()
    color_of = {
        text.get_text(): handle.get_facecolor()
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    assert set(color_of) == set(history["phase"])
    assert len({to_rgb(color[:3]) for color in color_of.values()}) == len(color_of)
    for axis in display.axes_:
        spans = [(band, *ends(band)) for band in axis.patches]
        for step, phase in zip(steps, history["phase"], strict=True):
            behind = [band for band, left, right in spans if left < step < right]
            assert [band.get_facecolor() for band in behind] == [color_of[phase]]


def test_chosen_quantities():
    model = deep()
    display = TrainingHistoryDisplay.from_estimator(
        model, quantities=["code_variance"], line_kwargs={"color": "r"}
    )
    (line,) = display.lines_
    assert_array_equal(line.get_ydata(), model.history_["code_variance"])
    assert line.get_color() == "r"


@pytest.mark.parametrize("name", ["accuracy", "phase"])
def test_unknown_quantities_raise(name):
    with pytest.raises(ValueError, match=rf"'{name}' is not in history_.*objective"):
        TrainingHistoryDisplay.from_estimator(soft(), quantities=[name])


@pytest.mark.parametrize("quantities", ["objective", []])
def test_quantities_must_be_a_list(quantities):
    with pytest.raises(ValueError, match=r"must be a list of names from .*'objective'"):
        TrainingHistoryDisplay.from_estimator(soft(), quantities=quantities)


def test_counts_have_integer_ticks():
    display = TrainingHistoryDisplay.from_estimator(soft())
    ticks = display.axes_[1].get_yticks()
    assert display.axes_[1].get_ylabel().startswith("number")
    assert_array_equal(ticks, ticks.round())


def test_nan_quantity_is_an_empty_panel():
    history = {"phase": ["a", "a"], "score": [np.nan, np.nan]}
    display = TrainingHistoryDisplay(history=history, quantities=["score"]).plot()
    assert np.isnan(display.lines_[0].get_ydata()).all()


def test_empty_history_raises():
    model = DeepCenteringClustering(
        3, hidden_layer_sizes=(8,), pretrain_epochs=0, max_iter=0, random_state=0
    ).fit(X)
    with pytest.raises(ValueError, match="history_ is empty"):
        TrainingHistoryDisplay.from_estimator(model)


def test_axis_starts_at_zero_if_a_value_is_zero():
    history = {"phase": ["a"] * 3, "share": [0.5, 0.0, 0.0], "loss": [9.0, 8.0, 7.0]}
    display = TrainingHistoryDisplay(history=history, quantities=["share", "loss"])
    display.plot()
    assert display.axes_[0].get_ylim()[0] == 0
    assert display.axes_[1].get_ylim()[0] > 6
