"""
==========================
Deep clustering of digits
==========================

:class:`~skrbf.DeepCenteringClustering` learns codes of handwritten digits and finds
centers among them. Training then pulls the codes to the centers, and K-means updates
the centers. The example compares the codes before and after this training, from the
same weights. Classes only color the points and give the accuracies; no fit uses them.
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
# ``max_iter=0`` pretrains the autoencoder and runs K-means on its codes, without
# further training. The second fit continues from this network.

X, y = load_digits(return_X_y=True)
X = X.astype(np.float32)
settings = {"hidden_layer_sizes": (300, 300, 1000), "random_state": 0}

before = DeepCenteringClustering(10, max_iter=0, **settings).fit(X)
after = DeepCenteringClustering(
    10, encoder=before.autoencoder_, max_iter=30, tol=0, **settings
).fit(X)


def accuracy(labels):
    """Compute the accuracy under the best matching of clusters and classes."""
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
# The upper row shows the codes on their first two principal axes, with the centers as
# crosses, and the losses of the second fit by epoch. The reconstruction loss is a
# fraction of the variance of the rows, the clustering loss a fraction of the variance
# of the codes. The lower rows show the decoded centers.

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
