"""
============================
From soft to hard clustering
============================

A soft assignment is a normalized layer of radial basis functions of width
:math:`\\sigma`, and :math:`T = 2 \\sigma^2` is its temperature. This example lowers the
temperature until the layer is K-means, with two assignment maps of
:class:`~skrbf.SoftKMeans`. With ``"softmax"``, every responsibility is positive. With
``"entmax15"``, most responsibilities are exactly zero.

The data are uneven on purpose: one large cluster, one elongated cluster and three small
clusters, two of which are close together.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.special import entr
from sklearn.exceptions import ConvergenceWarning

from skrbf import SoftKMeans

# The clusters are meant to merge here.
warnings.simplefilter("ignore", ConvergenceWarning)

rng = np.random.default_rng(0)
X = np.vstack(
    [
        rng.normal([0.0, 0.0], 1.1, (400, 2)),
        rng.multivariate_normal([-2.2, 4.2], [[1.2, 0.75], [0.75, 0.55]], 150),
        rng.normal([4.2, -3.0], 0.5, (120, 2)),
        rng.normal([4.2, 1.2], 0.35, (120, 2)),
        rng.normal([5.4, 2.6], 0.35, (60, 2)),
    ]
)
K = 6
spread = np.sqrt(X.var(axis=0).sum())
maps = ["softmax", "entmax15"]


def soft(temperature, assignment, init="grow"):
    """Fit until the centers no longer move, which takes long near a split."""
    model = SoftKMeans(
        K,
        temperature=temperature,
        assignment=assignment,
        init=init,
        max_iter=5000,
        tol=1e-8,
    )
    return model.fit(X)


def partners(centers, others):
    """Order `centers` so that they match `others` best, one to one."""
    return linear_sum_assignment(cdist(others, centers, "sqeuclidean"))[1]


def places(centers):
    """Number the distinct centers; coinciding centers share a number."""
    near = cdist(centers, centers) < 0.03 * spread
    return np.unique(near.argmax(axis=1), return_inverse=True)[1]


# %%
# Five temperatures
# -----------------
# ``temperature`` is relative to the temperature at which all softmax centers merge, so
# these values mean the same for data of any scale. Each panel is a separate fit. Each
# center has a color. The color of a point mixes the colors of the centers, in
# proportion to the responsibilities.

temperatures = [0.9, 0.3, 0.1, 0.03, 0]
colors = np.array([  # Okabe and Ito's, for all kinds of color vision
    [0, 114, 178], [204, 121, 167], [86, 180, 233],
    [0, 158, 115], [213, 94, 0], [230, 159, 0],
]) / 255  # fmt: skip


def mixture(responsibilities, white=0.0):
    """Mix the colors of the centers additively, like light."""
    light = responsibilities @ colors**2.2
    return (white + (1 - white) * light).clip(0, 1) ** (1 / 2.2)


def draw(ax, model, order):
    """Draw the responsibilities of all points and rows, and the centers."""
    low, high = X.min(axis=0) - 0.5, X.max(axis=0) + 0.5
    x, y = np.linspace(low, high, 240).T
    grid = np.stack(np.meshgrid(x, y), axis=-1)  # (y, x, 2)
    field = model.predict_proba(grid.reshape(-1, 2))[:, order]
    ax.imshow(
        mixture(field, white=0.5).reshape(len(y), len(x), 3),
        extent=(low[0], high[0], low[1], high[1]),
        origin="lower",
        aspect="equal",
    )
    probability = model.predict_proba(X)[:, order]
    ax.scatter(*X.T, s=4, c=mixture(probability), linewidths=0)

    place = places(model.cluster_centers_)
    for number in range(place.max() + 1):
        here = model.cluster_centers_[place == number].mean(axis=0)
        color = mixture(model.predict_proba(here[None])[:, order])
        ax.add_patch(plt.Circle(here, model.sigma_, fill=False, lw=0.9))
        count = (place == number).sum()
        size = 50 if count == 1 else 150
        ax.scatter(*here, s=size, c=color, edgecolors="k", linewidths=1.2, zorder=3)
        if count > 1:
            style = {"ha": "center", "va": "center_baseline", "zorder": 4}
            ax.annotate(str(count), here, color="w", weight="bold", **style)
    hard = ((probability > 0).sum(axis=1) == 1).mean()
    ax.set_xlabel(f"{hard:.0%} hard rows", fontsize=11)
    ax.set(xticks=[], yticks=[], xlim=(low[0], high[0]), ylim=(low[1], high[1]))


k_means = soft(0, "softmax").cluster_centers_
k_means = k_means[np.arctan2(*(k_means - k_means.mean(axis=0)).T).argsort()]
fig, axes = plt.subplots(2, 5, figsize=(11, 5), layout="constrained")
for assignment, row in zip(maps, axes, strict=True):
    row[0].set_ylabel(assignment, fontsize=13)
    for temperature, ax in zip(temperatures, row, strict=True):
        model = soft(temperature, assignment)
        draw(ax, model, partners(model.cluster_centers_, k_means))
for temperature, ax in zip(temperatures, axes[0], strict=True):
    ax.set_title(f"temperature {temperature}", fontsize=13)

dot = {"ls": "", "marker": "o", "mec": "k", "mfc": "w"}
handles = {
    "center": Line2D([], [], ms=7, mew=1.2, **dot),
    "coinciding centers": (
        Line2D([], [], ms=12, mew=1.2, **{**dot, "mfc": "0.4"}),
        Line2D([], [], ls="", marker="$2$", ms=6, color="w"),
    ),
    r"width $\sigma$": Line2D([], [], ms=18, mew=0.9, **dot),
    "hard row: in one cluster alone": Line2D([], [], ls=""),
}
legend = {"loc": "outside lower center", "frameon": False, "fontsize": 11}
fig.legend(handles.values(), handles.keys(), ncols=4, handlelength=1.2, **legend)
fig.get_layout_engine().set(h_pad=0.07, rect=(0, 0, 1, 0.985))

# %%
# From left to right, the centers separate, and then the boundaries between them
# sharpen. At 0, both maps are K-means. A row is *hard* if it belongs to one cluster
# alone. With softmax, no row is hard at any temperature above 0. With entmax-1.5, a row
# is hard if its nearest center leads by :math:`2 T` in squared distance, and most rows
# are hard at temperatures well above 0. At equal ``temperature`` the widths are equal,
# yet the centers of entmax separate earlier as the temperature falls: they merge only
# at :math:`\sqrt K` times the temperature at which those of softmax merge.
#
# K-means cuts the large cluster into three parts and does not separate the two small
# clusters on the right, because this lowers the inertia more. At 0.3, three centers
# coincide in the large cluster instead.
#
# Is the path to K-means monotone?
# --------------------------------
# Now one set of centers is followed from a temperature at which all coincide down to 0.
# Each fit starts from the centers of the previous fit plus a small random shift,
# because centers that coincide exactly never separate. Three quantities are measured:
#
# - the distance to the final centers at temperature 0, a fixed point of K-means;
# - the effective number of clusters, which is the exponential of the entropy of their
#   weights, where coinciding centers count as one cluster;
# - the inertia.


def measure(temperatures, assignment):
    """Anneal, and return the curves and the numbers of distinct centers."""
    nudge = np.random.default_rng(0).normal(scale=1e-3 * spread, size=(K, 2))
    models, centers = [], np.tile(X.mean(axis=0), (K, 1))
    for temperature in [*temperatures, 0]:
        models.append(soft(temperature, assignment, init=centers + nudge))
        centers = models[-1].cluster_centers_

    curves, counts = [], []
    for model in models[:-1]:
        order = partners(model.cluster_centers_, centers)
        shift = model.cluster_centers_[order] - centers
        place = places(model.cluster_centers_)
        weight = np.bincount(place, model.cluster_weight_) / len(X)
        curves.append(
            [
                np.sqrt((shift**2).sum(axis=1).mean()) / spread,
                np.exp(entr(weight).sum()),
                model.inertia_ / models[-1].inertia_,
            ]
        )
        counts.append(len(weight))
    critical = (
        temperatures[0] * models[0].critical_temperature_ / models[0].temperature_
    )
    return np.transpose(curves), np.array(counts), critical


temperatures = np.geomspace(1.2 * np.sqrt(K), 0.01, 70)
names = [
    "distance to the end\n(standard deviations)",
    "effective number\nof clusters",
    "inertia\n(1 at the end)",
]
blue, red = colors[0], colors[4]
fig, axes = plt.subplots(
    3, 2, figsize=(9.5, 7.5), sharex=True, sharey="row", layout="constrained"
)
for assignment, column in zip(maps, axes.T, strict=True):
    curves, counts, critical = measure(temperatures, assignment)
    for ax, curve in zip(column, curves, strict=True):
        for step in np.flatnonzero(np.diff(counts)):
            hot, cold = temperatures[step : step + 2]
            separated = counts[step + 1] > counts[step]
            ax.axvspan(hot, cold, color="0.85" if separated else (*red, 0.35), lw=0)
        ax.axvline(critical, color="k", ls=":", lw=1.2)
        ax.plot(temperatures, curve, color=blue, lw=2)
        ax.tick_params(labelsize=10)
    column[0].set_title(assignment, fontsize=13)
    column[-1].set_xlabel("temperature", fontsize=11)
for ax, name in zip(axes[:, 0], names, strict=True):
    ax.set_ylabel(name, fontsize=11)
axes[0, 0].set(xscale="log", xlim=(temperatures[0], temperatures[-1]))
axes[0, 0].set(xticks=[1, 0.1, 0.01], xticklabels=["1", "0.1", "0.01"], ylim=(0, None))
axes[1, 0].set_yticks(range(1, K + 1))
axes[2, 0].set(yscale="log", yticks=[1, 2, 5, 10], yticklabels=["1", "2", "5", "10"])
axes[2, 0].set_yticks([], minor=True)
handles = [
    Line2D([], [], color="k", ls=":", label="critical temperature"),
    Patch(color="0.85", label="centers separate"),
    Patch(color=(*red, 0.35), label="centers merge again"),
]
fig.legend(handles=handles, ncols=3, **legend)
plt.show()

# %%
# Centers separate in jumps, at certain temperatures. After the last jump, the centers
# of both maps approach their final positions with every step.
#
# With softmax, the distance falls at every step on these data. With entmax-1.5, it does
# not: in the orange band, a center that had left the large cluster returns to it. The
# number of clusters falls, and the distance and the inertia rise, although the
# temperature falls. On other data, the distance can also rise slightly with softmax
# while centers still coincide. The statement that soft centers converge monotonically
# to those of K-means is therefore true only after the last jump.
#
# By default, :class:`~skrbf.SoftKMeans` does not anneal all centers together in this
# way only. ``init="grow"`` splits one cluster at a time, moves centers by
# split-and-merge, and then goes to the requested temperature.
