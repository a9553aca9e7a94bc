"""AnnealingPathDisplay."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.datasets import load_iris

from skrbf import SoftKMeans
from skrbf.plot import AnnealingPathDisplay

X = load_iris().data
TEMPERATURES = [1.3, 0.8, 0.5, 0.25, 0.1, 0.03, 0.001]


@pytest.fixture(params=["softmax", "entmax15", "sparsemax"])
def assignment(request):
    return request.param


@pytest.fixture
def display(assignment):
    return AnnealingPathDisplay.from_estimator(
        SoftKMeans(3, assignment=assignment), X, temperatures=[3.5, *TEMPERATURES]
    )


def test_path_from_coincident_centers_to_kmeans(display, reference):
    assert_allclose(display.centers[0], np.tile(X.mean(0), (3, 1)), atol=1e-3)
    assert display.n_effective[0] == pytest.approx(1, abs=1e-3)
    assert display.inertias[0] == pytest.approx(1, abs=1e-3)
    cold = display.centers[-1]
    assert_allclose(reference.step(X, cold, 0), cold, atol=1e-3)
    share = np.bincount(reference.distances(X, cold).argmin(1)) / len(X)
    assert display.n_effective[-1] == pytest.approx(
        np.exp(-(share * np.log(share)).sum()), rel=1e-3
    )


def test_curves_match_their_definitions(display, reference, assignment):
    scatter = ((X - X.mean(0)) ** 2).sum()
    unit = 2 * reference.largest_variance(X)
    for t, centers, n_effective, inertia, objective in zip(
        display.temperatures,
        display.centers,
        display.n_effective,
        display.inertias,
        display.objectives,
        strict=True,
    ):
        assert_allclose(
            reference.step(X, centers, t * unit, assignment), centers, atol=1e-3
        )
        r = reference.responsibilities(X, centers, t * unit, assignment)
        with np.errstate(divide="ignore", invalid="ignore"):
            information = np.nansum(r * np.log(r / r.mean(0))) / len(X)
        assert n_effective == pytest.approx(np.exp(information), rel=1e-6)
        least = reference.distances(X, centers).min(1).sum()
        assert inertia == pytest.approx(least / scatter)
        energy = reference.free_energy(X, centers, t * unit, assignment)
        assert objective == pytest.approx(energy / scatter, abs=1e-6)


def test_centers_separate_at_the_critical_temperature(reference):
    found = AnnealingPathDisplay.from_estimator(
        SoftKMeans(3), X, temperatures=[1.05, 0.95]
    )
    assert found.critical_temperature == pytest.approx(1)
    gap = [np.ptp(centers @ found.direction) for centers in found.centers]
    assert gap[0] < 0.01
    assert gap[1] > 0.3
    sparse = AnnealingPathDisplay.from_estimator(
        SoftKMeans(4, assignment="entmax15"), X, temperatures=[1]
    )
    assert sparse.critical_temperature == pytest.approx(2)


def test_lines_show_the_attributes(display):
    assert_array_equal(display.temperatures, [3.5, *TEMPERATURES])
    top, middle, bottom = display.axes_
    lines = [*top.lines[:3], middle.lines[0], *bottom.lines[:2]]
    assert display.lines_ == lines
    for line in lines:
        assert_array_equal(line.get_xdata(), display.temperatures)
    for k, line in enumerate(lines[:3]):
        assert_allclose(line.get_ydata(), display.centers[:, k] @ display.direction)
    for line, values in zip(
        lines[3:],
        (display.n_effective, display.inertias, display.objectives),
        strict=True,
    ):
        assert_array_equal(line.get_ydata(), values)
    assert bottom.get_xscale() == "log"
    hot, cold = bottom.get_xlim()
    assert hot > cold
    names = [text.get_text() for text in bottom.get_legend().get_texts()]
    assert names == ["inertia", "objective"]


def test_direction_is_the_main_axis_of_the_centers(display):
    last = display.centers[-1] - display.centers[-1].mean(0)
    most = np.linalg.eigvalsh(last.T @ last)[-1]
    assert ((last @ display.direction) ** 2).sum() == pytest.approx(most)


@pytest.mark.parametrize("name", ["blobs", "uneven", "uniform", "wine"])
def test_sign_of_the_direction(make_data, name):
    found = AnnealingPathDisplay.from_estimator(
        SoftKMeans(3), make_data(name, 100), temperatures=[0.5, 0.1]
    )
    assert found.direction[np.abs(found.direction).argmax()] > 0


def test_curves_follow_their_centers(make_data):
    found = AnnealingPathDisplay.from_estimator(
        SoftKMeans(4), make_data("blobs", 150), temperatures=np.geomspace(1.2, 0.05, 8)
    )
    for before, after in itertools.pairwise(found.centers):
        way = np.linalg.norm(before - after, axis=1).sum()
        for order in itertools.permutations(range(4)):
            other = np.linalg.norm(before - after[list(order)], axis=1).sum()
            assert way <= other + 1e-9


def marks(display):
    lines = display.axes_[1].lines[1:]
    return {line.get_label(): line.get_xdata()[0] for line in lines}


def test_marks_critical_and_chosen_temperature(reference):
    model = SoftKMeans(3).fit(X)
    before = dict(vars(model))
    found = AnnealingPathDisplay.from_estimator(model, X, temperatures=TEMPERATURES)
    assert vars(model) == before
    own = model.temperature_ / (2 * reference.largest_variance(X))
    assert marks(found) == {
        "critical temperature": pytest.approx(1),
        "temperature of the estimator": pytest.approx(own),
    }
    assert marks(
        AnnealingPathDisplay.from_estimator(SoftKMeans(3), X, temperatures=TEMPERATURES)
    ) == {"critical temperature": pytest.approx(1)}
    # A mark outside the curves is not drawn.
    hot = AnnealingPathDisplay.from_estimator(model, X, temperatures=[0.9, 0.3])
    assert marks(hot) == {}


def test_default_temperatures():
    found = AnnealingPathDisplay.from_estimator(
        SoftKMeans(4, assignment="entmax15"), X[::5]
    )
    assert len(found.temperatures) == 50
    assert (np.diff(found.temperatures) < 0).all()
    assert found.temperatures[0] > 2  # critical for four centers
    assert found.temperatures[-1] == pytest.approx(0.01)


def test_weights_and_sparse_rows(matched):
    rows, weight = X[::3], np.arange(50) % 3
    options = {"temperatures": [1.2, 0.3, 0.1]}
    weighted = AnnealingPathDisplay.from_estimator(
        SoftKMeans(3), csr_array(rows), weight, **options
    )
    repeated = AnnealingPathDisplay.from_estimator(
        SoftKMeans(3), np.repeat(rows, weight, axis=0), **options
    )
    for one, other in zip(weighted.centers, repeated.centers, strict=True):
        assert_allclose(matched(one, other), one, rtol=1e-4)
    for name in ("n_effective", "inertias", "objectives"):
        assert_allclose(
            getattr(weighted, name), getattr(repeated, name), rtol=1e-4, atol=1e-6
        )


def test_data_frames_and_lists():
    options = {"temperatures": [1.2, 0.1]}
    frame = load_iris(as_frame=True).data
    expected = AnnealingPathDisplay.from_estimator(SoftKMeans(2), X, **options)
    for given in (frame, X.tolist()):
        found = AnnealingPathDisplay.from_estimator(SoftKMeans(2), given, **options)
        assert_array_equal(found.centers, expected.centers)


@pytest.mark.parametrize("temperatures", [[], [0.1, 0], [-1.0], [[0.1]], 0.1])
def test_invalid_temperatures_raise(temperatures):
    with pytest.raises(ValueError, match="temperatures must be"):
        AnnealingPathDisplay.from_estimator(SoftKMeans(2), X, temperatures=temperatures)


def test_equal_samples_raise():
    with pytest.raises(ValueError, match="All samples in X are equal"):
        AnnealingPathDisplay.from_estimator(SoftKMeans(1), np.ones((5, 2)))


def test_pandas_output():
    plain = AnnealingPathDisplay.from_estimator(SoftKMeans(3), X, temperatures=[0.1])
    model = SoftKMeans(3).set_output(transform="pandas")
    frames = AnnealingPathDisplay.from_estimator(model, X, temperatures=[0.1])
    assert_array_equal(frames.n_effective, plain.n_effective)
