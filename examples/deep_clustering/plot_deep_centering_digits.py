"""
========================================
Digits: codes that are pulled to centers
========================================

:class:`~skrbf.DeepCenteringClustering` learns codes of handwritten digits, finds
centers among them, and then trains on: codes are pulled to the centers, and K-means
sets the centers anew. Both pictures are from the same weights. Classes color the points
and give the accuracies; nothing is fitted to them.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

from skrbf import DeepCenteringClustering
from skrbf.plot import CodesDisplay, PrototypesDisplay, TrainingHistoryDisplay

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
# the losses of the second fit by epoch; both losses are shares of a variance, of the
# rows and of the codes. Below, what the decoder makes of the centers.

fig = plt.figure(figsize=(13, 7), layout="constrained")
top, *bottom = fig.subfigures(3, 1, height_ratios=[3.4, 1, 1])
left, middle, right = top.subplots(1, 3)
for ax, name, model in ((left, "before", before), (middle, "after", after)):
    CodesDisplay.from_estimator(model, X, y, ax=ax)
    ax.set_title(f"codes {name}: {accuracy(model.labels_):.1%} right", fontsize=11)
left.get_legend().remove()
TrainingHistoryDisplay.from_estimator(after, ax=right)

for part, name, model in zip(bottom, ("before", "after"), (before, after), strict=True):
    votes = [np.bincount(y[model.labels_ == k], minlength=10) for k in range(10)]
    order = np.argsort([count.argmax() for count in votes], kind="stable")
    PrototypesDisplay.from_estimator(
        model, image_shape=(8, 8), prototypes=order, ax=part.subplots()
    )
    part.suptitle(f"decoded centers {name}", fontsize=11)

plt.show()
