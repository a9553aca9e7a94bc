"""
=================================
Sample weights and rare classes
=================================

Data are not always sampled evenly. In this example, all handwritten digits from 0 to 4
were collected, but only one in ten of the digits from 5 to 9. The example shows the
effect on clusters and on a classifier, and how weights reduce it.
"""

# sphinx_gallery_thumbnail_number = 2
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import recall_score
from sklearn.model_selection import train_test_split

from skrbf import RBFNetClassifier, SoftKMeans
from skrbf.plot import PrototypesDisplay

X, digit = load_digits(return_X_y=True)
X_rest, X_test, digit_rest, digit_test = train_test_split(
    X, digit, stratify=digit, random_state=0
)
chance = np.where(digit_rest >= 5, 0.1, 1.0)
drawn = np.random.default_rng(0).random(len(chance)) < chance
rows, label, chance = X_rest[drawn], digit_rest[drawn], chance[drawn]
print("rows of each digit:", *np.bincount(label))

# %%
# Clusters
# --------
# The weight of a row is the number of rows that it represents: the inverse of the
# probability with which it was collected. As in a survey, this probability is known
# without knowing the digit. A row of weight 10 has exactly the effect of ten copies.

models = {
    "without weights": SoftKMeans(10).fit(rows),
    "with weights": SoftKMeans(10).fit(rows, sample_weight=1 / chance),
    "all rows collected": SoftKMeans(10).fit(X_rest),
}
for name, model in models.items():
    print(f"{name:18}  distortion of the test rows {-model.score(X_test):7.0f}")

figure = plt.figure(figsize=(9, 4.2), layout="constrained")
for part, (name, model) in zip(figure.subfigures(3, 1), models.items(), strict=True):
    PrototypesDisplay.from_estimator(
        model, image_shape=(8, 8), n_columns=10, ax=part.subplots()
    )
    part.suptitle(name, fontsize=11)
plt.show()

# %%
# Without weights, no center is a clear 5, 6, 7 or 8, while the digit 1 has three
# centers. With weights, these digits have centers, similar to those of a fit to all
# rows. The uneven sample raises the distortion of the evenly drawn test rows. The
# weights remove most of this rise.
#
# A classifier
# ------------
# The classifier knows the classes, and ``class_weight="balanced"`` gives all classes
# the same weight. The recall of a digit is the fraction of its test rows that are
# classified correctly.

figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
for class_weight, place in {None: -0.2, "balanced": 0.2}.items():
    net = RBFNetClassifier(50, class_weight=class_weight, random_state=0)
    recall = recall_score(
        digit_test, net.fit(rows, label).predict(X_test), average=None
    )
    print(
        f"class_weight={class_weight!s:8}  recall of 0 to 4 {recall[:5].mean():.1%}, "
        f"of 5 to 9 {recall[5:].mean():.1%}"
    )
    name = f"class_weight={class_weight!r}"
    axis.bar(np.arange(10) + place, recall, width=0.4, label=name)
axis.set(xlabel="digit", ylabel="recall", xticks=range(10), ylim=(0, 1.15))
axis.legend(loc="upper right", ncols=2, frameon=False)
plt.show()

# %%
# With balanced weights, the recall of the rare digits rises, and that of the others
# falls slightly. Weights cannot replace rows that were not collected: the rare digits
# remain harder to classify.
