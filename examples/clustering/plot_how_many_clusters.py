"""
===========================
How many clusters are there
===========================

K-means finds as many clusters as it is told to. If all centers start in one place at a
high temperature and are cooled together, they part one after the other, and a number of
clusters that holds over a long stretch of temperatures is one that the data have. Here
six centers are cooled among the flowers of the iris data, which are of three species.
"""

import warnings

import matplotlib.pyplot as plt
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning

from skrbf import SoftKMeans
from skrbf.plot import AnnealingPathDisplay, ResponsibilitiesDisplay

# %%
# Cooling
# -------

X = load_iris(as_frame=True).data[["petal length (cm)", "petal width (cm)"]]
AnnealingPathDisplay.from_estimator(SoftKMeans(6), X)

# %%
# At the critical temperature the centers part, and from 0.8 to 0.2 they are in two
# places. Below, the upper place falls apart, step by step, and no number of clusters
# holds for long. So the data have two clusters, and a crowd without further ones. The
# three species do not show: the petals of two of them run into each other.
#
# Two centers have met in the lower place and stay there. Cooled together, centers do
# not know where they are missed.
#
# Memberships on the way
# ----------------------
# Now each temperature has a fit of its own, grown as is the default. A marker with an
# `x` counts the centers in its place, and the ellipses are at one width.

# That clusters merge is what we want to see here.
warnings.simplefilter("ignore", ConvergenceWarning)
figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), sharey=True, layout="constrained")
for axis, temperature in zip(axes, (0.3, 0.05, 0.01), strict=True):
    model = SoftKMeans(6, temperature=temperature).fit(X)
    ResponsibilitiesDisplay.from_estimator(model, X, ax=axis)
    axis.set_title(f"temperature {temperature}")
plt.show()

# %%
# As the temperature falls, so do the widths, and fewer rows lie between clusters. At
# 0.01 all six centers have a place of their own, unlike on the path: growth moves
# centers to where they lower the inertia.
