"""
=========================
Weights, and what is rare
=========================

A sample is not always drawn evenly. Here every 0 to 4 of the handwritten digits was
collected, but only one in ten of the others. What does that do to clusters, and to a
classifier, and what do weights mend?
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
# The weight of a row is how many it stands for: one over its chance to be collected.
# That is known here without knowing its digit, as it is in a survey. A row of weight 10
# counts as the same row ten times, exactly.

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
# Without weights no center is a clear 5, 6, 7 or 8, while the 1 alone has three. With
# weights these digits have centers, much like those that all rows would give.
# The distortion of rows that were drawn evenly is what is paid for the sample: most of
# it is saved by the weights.
#
# A classifier
# ------------
# Here the classes are known, and ``class_weight="balanced"`` gives all the same weight.
# The recall of a digit is the share of its test rows that are found.

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
# The rare digits are found more often, and the others a little less. Weights do not
# make up for what was not collected: the rare digits remain the harder ones.
