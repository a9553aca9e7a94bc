"""
==================================
The number of clusters in the data
==================================

K-means finds as many clusters as ``n_clusters`` says. Annealing can show how many the
data support. All centers start at one point at a high temperature and separate one
after the other as the temperature falls. A number of clusters that persists over a long
range of temperatures is supported by the data. This example anneals six centers among
the iris flowers, which belong to three species.
"""

import warnings

import matplotlib.pyplot as plt
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning

from skrbf import SoftKMeans
from skrbf.plot import AnnealingPathDisplay, ResponsibilitiesDisplay

# %%
# Annealing
# ---------

X = load_iris(as_frame=True).data[["petal length (cm)", "petal width (cm)"]]
AnnealingPathDisplay.from_estimator(SoftKMeans(6), X)

# %%
# At the critical temperature, the centers separate. From 0.8 to 0.2, they form two
# groups. At lower temperatures, the upper group splits step by step, and no number of
# clusters persists for long. The data therefore support two clusters. The three species
# are not visible, because the petals of two of them overlap.
#
# Two centers coincide in the lower group and stay together. Centers that are annealed
# together do not move to regions that lack centers.
#
# Memberships at three temperatures
# ---------------------------------
# Each temperature now has its own fit, with the default initialization. A marker with
# an `x` gives the number of centers at its point, and the ellipses show one width.

# The clusters are meant to merge here.
warnings.simplefilter("ignore", ConvergenceWarning)
figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), sharey=True, layout="constrained")
for axis, temperature in zip(axes, (0.3, 0.05, 0.01), strict=True):
    model = SoftKMeans(6, temperature=temperature).fit(X)
    ResponsibilitiesDisplay.from_estimator(model, X, ax=axis)
    axis.set_title(f"temperature {temperature}")
plt.show()

# %%
# As the temperature falls, the widths shrink and fewer rows lie between clusters. At
# 0.01, all six centers are distinct, unlike in the annealing above: split-and-merge
# moves centers to where they lower the inertia.
