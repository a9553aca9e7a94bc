"""
========================================
Digits: codes that are pulled to centers
========================================

:class:`~skrbf.DeepCenteringClustering` learns codes of handwritten digits, finds
centers among them, and then trains on: codes are pulled to the centers, and K-means
sets the centers anew. Both pictures are from the same weights. Classes color the points
and give the accuracies; nothing is fitted to them.

Run as ``python examples/plot_deep_centering_digits.py``; with ``--save NAME`` it writes
its figure to that file.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from skrbf import DeepCenteringClustering

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--save", help="file to write the figure to")
options, _ = parser.parse_known_args()

# %%
# Before and after
# ----------------
# ``max_iter=0`` pretrains the autoencoder and leaves it at that: K-means on its codes.
# Its network is handed to the second fit, which goes on from it.

X, y = load_digits(return_X_y=True)
X = X.astype(np.float32)
settings = {"hidden_layer_sizes": (300, 300, 1000), "random_state": 0}

before = DeepCenteringClustering(10, max_iter=0, **settings).fit(X)
after = DeepCenteringClustering(
    10, encoder=before.autoencoder_, max_iter=30, tol=0, **settings
).fit(X)


def accuracy(labels):
    """Share of the rows that are right, with clusters and classes matched best."""
    counts = np.zeros((10, 10))
    np.add.at(counts, (y, labels), 1)
    return counts[linear_sum_assignment(counts, maximize=True)].sum() / len(y)


plain = KMeans(10, n_init=10, random_state=0).fit(X)
print(f"K-means                  {accuracy(plain.labels_):.1%}")
print(f"AE + K-means             {accuracy(before.labels_):.1%}")
print(f"DeepCenteringClustering  {accuracy(after.labels_):.1%}")

# %%
# Codes, losses and decoded centers
# ---------------------------------
# Above, the codes on their first two principal axes, with the centers as crosses, and
# the losses by epoch; both are shares of a variance, of the rows and of the codes.
# Below, what the decoder makes of the centers.

fig = plt.figure(figsize=(13, 6.6), layout="constrained")
top, bottom = fig.subfigures(2, 1, height_ratios=[3, 1.35])
left, middle, right = top.subplots(1, 3)


def draw_codes(ax, model, title):
    """Codes and centers in the plane of the codes' largest variance."""
    codes = model.transform(X)
    plane = PCA(2).fit(codes)
    places, centers = plane.transform(codes), plane.transform(model.cluster_centers_)
    ax.scatter(*places.T, c=y, cmap="tab10", s=7, alpha=0.7, lw=0)
    ax.plot(*centers.T, "X", ms=9, mfc="k", mec="white", mew=1.2)
    ax.set(xticks=[], yticks=[])
    ax.set_title(f"{title}: {accuracy(model.labels_):.1%} right", fontsize=11)


draw_codes(left, before, "codes before")
draw_codes(middle, after, "codes after")

pretrained = before.history_["reconstruction_loss"]
epochs = np.arange(1, len(pretrained) + 1)
right.plot(epochs, pretrained, color="C0", label="reconstruction")
later = len(pretrained) + np.arange(1, after.n_iter_ + 1)
right.plot(later, after.history_["reconstruction_loss"], color="C0")
right.plot(later, after.history_["clustering_loss"], color="C3", label="clustering")
change = np.maximum(after.history_["label_change"], 0.5 / len(X))
right.plot(later, change, color="0.6", lw=1, label="labels changed")
right.axvline(len(pretrained) + 0.5, color="0.3", ls=":", lw=1)
right.set(yscale="log", xlabel="epoch")
right.set_title("losses, as shares of the variance", fontsize=11)
right.legend(frameon=False, fontsize=9)

grid = bottom.subplots(2, 10)
for row, (name, model) in zip(grid, {"before": before, "after": after}.items(),
                              strict=True):  # fmt: skip
    votes = [np.bincount(y[model.labels_ == k], minlength=10) for k in range(10)]
    order = np.argsort([count.argmax() for count in votes], kind="stable")
    for ax, k in zip(row, order, strict=True):
        ax.imshow(model.cluster_centers_decoded_[k].reshape(8, 8), cmap="gray_r")
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(name, fontsize=11)
bottom.suptitle("decoded centers", fontsize=11)

if options.save:
    fig.savefig(options.save, dpi=110)
plt.show()
