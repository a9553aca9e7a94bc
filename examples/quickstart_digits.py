"""Cluster handwritten digits into 100 clusters, and list the most doubtful digits.

Run ``python examples/quickstart_digits.py``. The data come with scikit-learn.
"""

import time

import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

from skrbf import SoftKMeans

N_CLUSTERS = 100

X, digit = load_digits(return_X_y=True)
soft = SoftKMeans(N_CLUSTERS)
models = {
    "KMeans, one start": KMeans(N_CLUSTERS, n_init=1, random_state=0),
    "KMeans, best of 10 starts": KMeans(N_CLUSTERS, n_init=10, random_state=0),
    "SoftKMeans, temperature=0": SoftKMeans(N_CLUSTERS, temperature=0),
    "SoftKMeans, its defaults": soft,
}

for model in models.values():
    model.fit(X[:200])  # the first fit of a process also loads libraries

print(f"{f'{len(X)} digits, {N_CLUSTERS} clusters':28}  inertia  seconds")
for name, model in models.items():
    began = time.perf_counter()
    model.fit(X)
    seconds = time.perf_counter() - began
    print(f"{name:28}  {model.inertia_:7.0f}  {seconds:7.2f}")

# The last model is soft and returns probabilities. The most common digit of a cluster
# gives the cluster its name.
probability = soft.predict_proba(X)  # (1797, 100)
common = [np.bincount(digit[soft.labels_ == k]).argmax() for k in range(N_CLUSTERS)]

print(f"\n{'The three most doubtful':28}  first cluster       second cluster")
for row in probability.max(axis=1).argsort()[:3]:
    print(f"{f'row {row}, a handwritten {digit[row]}':28}", end="")
    for k in probability[row].argsort()[:-3:-1]:
        print(f"  {probability[row, k]:.2f} #{k:2}, mostly {common[k]}", end="")
    print()
