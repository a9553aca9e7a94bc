"""Behavior that all displays share."""

import subprocess
import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import Normalize
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

import skrbf.plot
from skrbf import DeepCenteringClustering, RBFNetClassifier, SoftKMeans
from skrbf.plot import (
    AnnealingPathDisplay,
    CodesDisplay,
    PrototypesDisplay,
    ResponsibilitiesDisplay,
    TrainingHistoryDisplay,
)

# The networks of these displays are hardly trained, and warn.
pytestmark = pytest.mark.filterwarnings("ignore:In its last epoch the network")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 2)) + 5 * (np.arange(40) % 2)[:, None]
SMALL = {"n_components": 2, "hidden_layer_sizes": (4,), "pretrain_epochs": 2}


def soft():
    return SoftKMeans(2).fit(X)


def deep():
    return DeepCenteringClustering(2, max_iter=2, random_state=0, **SMALL).fit(X)


DRAWN = {
    "annealing": lambda **kw: AnnealingPathDisplay.from_estimator(
        SoftKMeans(2), X, temperatures=[1.5, 0.1], **kw
    ),
    "codes": lambda **kw: CodesDisplay.from_estimator(deep(), X, **kw),
    "history": lambda **kw: TrainingHistoryDisplay.from_estimator(soft(), **kw),
    "prototypes": lambda **kw: PrototypesDisplay.from_estimator(
        soft(), image_shape=(1, 2), **kw
    ),
    "responsibilities": lambda **kw: ResponsibilitiesDisplay.from_estimator(
        soft(), X, grid_resolution=5, **kw
    ),
}
every = pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN.keys())
classes = pytest.mark.parametrize("name", skrbf.plot.__all__)


@every
def test_draws_in_a_new_figure(draw):
    settings = dict(matplotlib.rcParams)
    display = draw()
    assert plt.get_fignums() == [display.figure_.number]
    assert display.ax_.figure is display.figure_
    assert dict(matplotlib.rcParams) == settings
    display.figure_.canvas.draw()


@every
def test_draws_in_given_axes(draw):
    figure, (left, right) = plt.subplots(1, 2, layout="constrained")
    display = draw(ax=right)
    assert display.ax_ is right
    assert display.figure_ is figure
    assert plt.get_fignums() == [figure.number]
    figure.canvas.draw()
    # Everything drawn is to the right of the left axes.
    border = left.get_window_extent().x1
    others = [axis for axis in figure.axes if axis is not left]
    assert all(axis.get_window_extent().x0 > border for axis in others)
    assert not left.has_data()
    assert any(axis.has_data() for axis in others)


@every
def test_draws_again_in_a_new_figure(draw):
    display = draw()
    first = display.figure_
    assert display.plot() is display
    assert display.figure_ is not first


@pytest.mark.parametrize("draw", [DRAWN["annealing"], DRAWN["history"]])
def test_panels_need_axes_of_a_grid(draw):
    ax = plt.figure().add_axes([0, 0, 1, 1])
    with pytest.raises(ValueError, match="add_subplot"):
        draw(ax=ax)


@pytest.mark.parametrize("kind", [SoftKMeans, RBFNetClassifier])
@pytest.mark.parametrize(
    "name", [name for name in skrbf.plot.__all__ if name != "AnnealingPathDisplay"]
)
def test_not_fitted(name, kind):
    rows = () if name in ("PrototypesDisplay", "TrainingHistoryDisplay") else (X,)
    with pytest.raises(NotFittedError):
        getattr(skrbf.plot, name).from_estimator(kind(), *rows)


@classes
def test_another_estimator(name):
    rows = () if name in ("PrototypesDisplay", "TrainingHistoryDisplay") else (X,)
    pipeline = make_pipeline(KMeans(2, n_init=1)).fit(X)
    with pytest.raises(ValueError, match=rf"{name}.*Pipeline|Pipeline.*{name}"):
        getattr(skrbf.plot, name).from_estimator(pipeline, *rows)


@every
def test_without_matplotlib(draw, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"Display.plot requires matplotlib"):
        draw()


def test_import_loads_no_matplotlib():
    code = "import sys, skrbf.plot; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_style_properties_may_have_short_names():
    """Short names of matplotlib, which raises if both names are given."""
    history = DRAWN["history"](line_kwargs={"lw": 3, "c": "r"})
    assert {line.get_linewidth() for line in history.lines_} == {3}
    assert {line.get_color() for line in history.lines_} == {"r"}
    red = (1, 0, 0)
    for name in ("c", "color", "facecolor", "fc"):
        drawn = DRAWN["codes"](scatter_kwargs={name: "r", "lw": 2})
        assert tuple(drawn.rows_.get_facecolor()[0, :3]) == red
        assert drawn.rows_.get_linewidth()[0] == 2
    drawn = DRAWN["responsibilities"](scatter_kwargs={"c": "r", "ec": "b"})
    assert tuple(drawn.rows_.get_facecolor()[0, :3]) == red
    assert tuple(drawn.rows_.get_edgecolor()[0, :3]) == (0, 0, 1)
    norm = Normalize(1, 20)
    drawn = DRAWN["prototypes"](imshow_kwargs={"norm": norm})
    assert drawn.axes_[0].images[0].norm is norm


def test_drawing_uses_no_global_random_numbers():
    X = np.random.default_rng(0).normal(size=(600, 120)).astype(np.float32)
    deep = DeepCenteringClustering(
        2,
        n_components=100,
        hidden_layer_sizes=(8,),
        pretrain_epochs=1,
        max_iter=0,
        random_state=0,
    ).fit(X)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = CodesDisplay.from_estimator(deep, X)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.testing.assert_array_equal(
        CodesDisplay.from_estimator(deep, X).codes, first.codes
    )


@pytest.mark.parametrize("prototypes", [[], [-1], [99], [0.5], [True, False], 1])
def test_invalid_prototypes_raise(prototypes):
    with pytest.raises(ValueError, match="prototypes must be integers from 0 to"):
        PrototypesDisplay.from_estimator(
            soft(), image_shape=np.array([1, 2]), prototypes=prototypes
        )
