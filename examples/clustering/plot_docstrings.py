"""
===============================
Clustering docstrings by topic
===============================

The functions and classes of SciPy have long docstrings. Do their words alone separate
the packages of SciPy? This example finds eleven clusters for eleven packages, first
with sparse word frequencies, then in a space of fewer dimensions. The names of the
packages are used for evaluation only. The texts come from the installed SciPy, so
another version gives other numbers.
"""

import importlib
import inspect

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from skrbf import DeepCenteringClustering, SoftKMeans

# %%
# Sparse words
# ------------
# Each docstring is a row of weighted word frequencies (TF-IDF), nearly all of them 0.
# :class:`~skrbf.SoftKMeans` accepts sparse rows without conversion.

packages = [
    "fft", "integrate", "interpolate", "linalg", "ndimage", "optimize", "signal",
    "sparse", "spatial", "special", "stats",
]  # fmt: skip
texts = {}
for package in packages:
    module = importlib.import_module(f"scipy.{package}")
    for name in module.__all__:
        text = inspect.getdoc(getattr(module, name)) or ""
        if callable(getattr(module, name)) and len(text) > 400:
            texts[package, name] = text
part = np.array([package for package, _ in texts])
words = TfidfVectorizer(
    stop_words="english", token_pattern=r"[a-z]{3,}", min_df=3, max_df=0.3,
    sublinear_tf=True,
)  # fmt: skip
X = words.fit_transform(texts.values())
print(f"{X.shape[0]} docstrings, {X.shape[1]} words, {X.nnz / X.shape[0]:.0f} in each")


def report(name, model, rows):
    """Fit, and print how well the clusters agree with the packages."""
    agreement = adjusted_mutual_info_score(part, model.fit_predict(rows))
    inertia = f", inertia {model.inertia_:.1f}" if hasattr(model, "inertia_") else ""
    print(f"{name:28} adj. mutual info {agreement:.3f}{inertia}")


report("KMeans, ten starts", KMeans(11, n_init=10, random_state=0), X)
report("SoftKMeans, temperature 0", SoftKMeans(11, temperature=0), X)
report("SoftKMeans, temperature 0.2", SoftKMeans(11, temperature=0.2), X)

# %%
# Here skrbf loses. The grown centers have the lower inertia, but K-means from random
# centers agrees better with the packages. With thousands of words, all texts are about
# equally far from each other, and no centers lower the inertia much. Reducing the
# dimension first is common practice for text.
#
# Fewer dimensions
# ----------------
# The first 50 singular vectors represent the texts, with rows scaled to length 1. Now
# the clusters are distinct. The grown clusters have the lower inertia and agree better
# with the packages. An autoencoder gains little on a few thousand texts:
# :class:`~skrbf.DeepCenteringClustering` agrees only slightly better than K-means.

reduce = make_pipeline(TruncatedSVD(50, random_state=0), Normalizer(copy=False))
Z = reduce.fit_transform(X)
model = SoftKMeans(11)
report("KMeans, ten starts", KMeans(11, n_init=10, random_state=0), Z)
report("SoftKMeans", model, Z)
report(
    "DeepCenteringClustering",
    DeepCenteringClustering(
        11, hidden_layer_sizes=(256,), pretrain_epochs=20, max_iter=15, random_state=0
    ),
    Z.astype(np.float32),
)

# %%
# The clusters
# ------------
# The figure names each cluster by the words with the largest weights at its center, and
# shows how many docstrings of each package it contains. Most packages have their own
# cluster. `special` and `stats`, the largest packages, have two. One cluster contains
# texts without common words: interpolation, spatial data and the rest.

centers = reduce[0].inverse_transform(model.cluster_centers_)
vocabulary = words.get_feature_names_out()
counts = np.array([[np.sum((model.labels_ == k) & (part == package))
                    for package in packages] for k in range(11)])  # fmt: skip
order = counts.argmax(axis=1).argsort(kind="stable")
figure, axis = plt.subplots(figsize=(9, 4.6), layout="constrained")
axis.imshow(counts[order] / counts.sum(axis=0), cmap="cividis", aspect="auto")
for i, j in np.argwhere(counts[order] > 0):
    count = counts[order][i, j]
    dark = count < 0.5 * counts[:, j].sum()
    style = {"color": "w" if dark else "k", "ha": "center", "va": "center"}
    axis.annotate(str(count), (j, i), fontsize=8, **style)
names = [", ".join(vocabulary[centers[k].argsort()[:-4:-1]]) for k in order]
axis.set_yticks(range(11), names)
axis.set_xticks(range(11), packages, rotation=45, ha="right")
axis.set_title("docstrings of each package in each cluster")
plt.show()

# %%
# The most doubtful docstrings
# ----------------------------
# These docstrings have the smallest largest responsibility. The output lists the words
# of the two clusters that each lies between.

responsibility = model.predict_proba(Z)
named = dict(zip(order, names, strict=True))
for row in responsibility.max(axis=1).argsort(kind="stable")[:5]:
    print(".".join(("scipy", *list(texts)[row])))
    for k in responsibility[row].argsort()[:-3:-1]:
        print(f"    {responsibility[row, k]:.2f} {named[k]}")
