"""
=========================
Rows between two clusters
=========================

K-means assigns every row to one cluster and gives no confidence.
:class:`~skrbf.SoftKMeans` gives each row a responsibility for each cluster. Here the
responsibilities show which handwritten digits lie between two clusters. They are also
meaningful: clusters agree more often with the classes, which no fit has seen, where the
largest responsibility is higher.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skrbf import SoftKMeans

# %%
# Responsibilities
# ----------------
# There are more clusters than digits, because some digits are written in several ways.
# Each cluster is named by its most common digit.

X, digit = load_digits(return_X_y=True)
model = SoftKMeans(20).fit(X)
probability = model.predict_proba(X)  # (1797, 20)
common = np.array([np.bincount(digit[model.labels_ == k]).argmax() for k in range(20)])
by_digit = np.stack([probability[:, common == each].sum(1) for each in range(10)], 1)

# %%
# Doubt and accuracy
# ------------------
# The rows are sorted by the responsibility of their second digit, the most doubtful
# first, and divided into five groups of equal size. With 64 pixels, most rows are
# nearly one-hot.

doubt = np.partition(by_digit, -2, axis=1)[:, -2]
right = by_digit.argmax(1) == digit
order = (-doubt).argsort(kind="stable")
for part in np.array_split(order, 5):
    low, high = doubt[part].min(), doubt[part].max()
    print(f"second digit has {low:.0e} to {high:.0e}: {right[part].mean():.1%} right")

# %%
# The most doubtful rows
# ----------------------
# Each column shows a row and the centers of its two clusters.

figure, axes = plt.subplots(3, 8, figsize=(9, 4.2), layout="constrained")
for column, row in zip(axes.T, order[:8], strict=True):
    first, second = probability[row].argsort()[:-3:-1]
    pictures = (X[row], *model.cluster_centers_[[first, second]])
    titles = (
        f"a {digit[row]}",
        f"{probability[row, first]:.2f}",
        f"{probability[row, second]:.2f}",
    )
    for axis, picture, title in zip(column, pictures, titles, strict=True):
        axis.imshow(picture.reshape(8, 8), cmap="gray_r")
        axis.set_title(title, fontsize=10)
        axis.set(xticks=[], yticks=[])
for axis, name in zip(axes[:, 0], ("row", "first", "second"), strict=True):
    axis.set_ylabel(name)
figure.suptitle("Digits between two clusters, and their responsibilities")
plt.show()
