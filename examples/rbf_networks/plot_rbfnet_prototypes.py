"""
===============================
A classifier made of prototypes
===============================

Each unit of a :class:`~skrbf.RBFNetClassifier` has a center, widths and a class
profile. A fitted network can therefore be plotted unit by unit. So can the
contributions of the units to a prediction.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits, make_moons
from sklearn.model_selection import train_test_split

from skrbf import RBFNetClassifier
from skrbf.plot import ResponsibilitiesDisplay

# %%
# The decision surface and its units
# ----------------------------------
# The data are two moons. A cross marks a center, in the mixed colors of the class
# profile of the unit. The ellipse around it is drawn at half a width. Left: the initial
# units, with centers from K-means, widths from the distances between neighbors, and the
# best output for them (``max_iter=0``). Middle: the units after joint training. Right:
# the novelty of the second network.

X, y = make_moons(300, noise=0.25, random_state=0)
models = {
    "units as placed": RBFNetClassifier(12, max_iter=0, random_state=0),
    "units trained": RBFNetClassifier(12, random_state=0),
}
fig, axes = plt.subplots(1, 3, figsize=(13.5, 3.5), layout="constrained")
for ax, (name, model) in zip(axes, models.items(), strict=False):
    model.fit(X, y)
    ResponsibilitiesDisplay.from_estimator(model, X, y, margin=0.4, n_widths=0.5, ax=ax)
    ax.set_title(f"{name}: {model.score(X, y):.1%} of the rows right", fontsize=12)

ends = axes[0].get_xlim(), axes[0].get_ylim()
grid = np.meshgrid(*(np.linspace(low, high, 200) for low, high in ends))
points = np.column_stack([axis.ravel() for axis in grid])
strange = models["units trained"].novelty(points).reshape(grid[0].shape)
levels = [0, 0.5, 0.9, 0.99, 1.0]
shades = axes[2].contourf(*grid, strange, levels, cmap="Greys", alpha=0.6)
axes[2].scatter(*X.T, c="k", s=6)
axes[2].set_title("novelty: 1 is unlike every training row", fontsize=12)
fig.colorbar(shades, ax=axes[2], ticks=levels, shrink=0.95)
for ax in axes:
    ax.set(xlabel="", ylabel="", xticks=[], yticks=[], aspect="equal")

# %%
# On the black boundary, both classes are equally probable. Training moves the units and
# changes their widths so that the boundary follows the rows. Far from all units, the
# probabilities depend on the intercept only. No unit supports the prediction there, and
# the novelty is close to 1.
#
# Explaining a prediction on digits
# ---------------------------------
# This network has forty units and classifies images of handwritten digits. A center is
# a point in the space of the images, so it can be shown as an image. Trained centers
# are not means of images, because training also moves them to where they help the
# output. The bars show the class profiles.

digits = load_digits()
rows, rows_test, label, label_test = train_test_split(
    digits.data, digits.target, random_state=0
)
model = RBFNetClassifier(40, random_state=0).fit(rows, label)
right = model.predict(rows_test) == label_test
print(f"{len(model.centers_)} units, {right.mean():.1%} of the test digits right")

purest = model.class_profile_.max(axis=1).argsort()[::-1]
own = model.class_profile_.argmax(axis=1)
shown = np.array([purest[own[purest] == digit][0] for digit in np.unique(own)])

# The correctly classified digit with the smallest margin.
ranked = np.sort(model.predict_proba(rows_test), axis=1)
margin = np.where(right, ranked[:, -1] - ranked[:, -2], 2)
doubtful = int(margin.argmin())
reasons = model.explain(rows_test[[doubtful]], n_units=4)

fig = plt.figure(figsize=(12.5, 7.6), layout="constrained")
top, bottom = fig.subfigures(2, 1, height_ratios=[1, 1.05])
top.suptitle("The purest unit of each digit, its classes, its nearest training row")
axes = top.subplots(3, len(shown), height_ratios=[1, 0.75, 1])
palette = plt.colormaps["tab10"](np.arange(10))
for (image, bar, near), unit in zip(axes.T, shown, strict=True):
    image.imshow(model.centers_[unit].reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
    image.set_title(f"unit {unit}", fontsize=10)
    bar.bar(range(10), model.class_profile_[unit], color=palette)
    bar.set(ylim=(0, 1), yticks=[], xticks=range(10))
    bar.tick_params(labelsize=6, length=0)
    near.imshow(rows[model.nearest_rows_[unit, 0]].reshape(8, 8), cmap="gray_r")
for ax in axes[[0, 2]].ravel():
    ax.set(xticks=[], yticks=[])

bottom.suptitle(
    f"A doubtful {label_test[doubtful]}, and the units with the largest contributions"
)
axes = bottom.subplots(2, 5, height_ratios=[1, 0.6])
axes[0, 0].imshow(rows_test[doubtful].reshape(8, 8), cmap="gray_r")
axes[0, 0].set_title(f"test digit, read as {reasons.label[0]}", fontsize=10)
axes[1, 0].bar(range(10), model.predict_proba(rows_test[[doubtful]])[0], color=palette)
axes[1, 0].set_xlabel("probability of each digit", fontsize=9)
for (image, bar), unit, activation, share in zip(
    axes.T[1:],
    reasons.unit[0],
    reasons.activation[0],
    reasons.contribution[0],
    strict=True,
):
    image.imshow(model.centers_[unit].reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
    spoken = f"active at {activation:.2f}:\n{share:+.2f} for {reasons.label[0]}"
    image.set_title(f"unit {unit}, {spoken}", fontsize=10)
    bar.bar(range(10), model.class_profile_[unit], color=palette)
    bar.set_xlabel("its class profile", fontsize=9)
for ax in axes[0]:
    ax.set(xticks=[], yticks=[])
for ax in axes[1]:
    ax.set(ylim=(0, 1), xticks=range(10), yticks=[])
    ax.tick_params(labelsize=8, length=0)
plt.show()

# %%
# The logit of a class is the sum of the intercept and the contributions of all units,
# including those not shown. See :meth:`skrbf.RBFNetClassifier.explain`.
