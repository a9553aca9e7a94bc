"""Cluster handwritten digits, and see which of them are doubtful.

Run as ``python examples/quickstart_digits.py``; the data come with scikit-learn.
"""

import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from skrbf import SoftKMeans

X, digit = load_digits(return_X_y=True)
soft = SoftKMeans(10)
models = {
    "KMeans, best of 10 starts": KMeans(10, n_init=10, random_state=0),
    "SoftKMeans, temperature=0": SoftKMeans(10, temperature=0),
    "SoftKMeans, its defaults": soft,
}

print(f"{f'{len(X)} digits, 10 clusters':28}  inertia  adj. Rand  adj. mutual info")
for name, model in models.items():
    labels = model.fit_predict(X)
    rand = adjusted_rand_score(digit, labels)
    information = adjusted_mutual_info_score(digit, labels)
    print(f"{name:28}  {model.inertia_:7.0f}  {rand:9.3f}  {information:16.3f}")

# The last model is soft: it tells how sure it is of each row. A cluster goes by the
# digit that is commonest in it.
probability = soft.predict_proba(X)
common = [np.bincount(digit[soft.labels_ == k]).argmax() for k in range(10)]

print(f"\n{'The three most doubtful':28}  first cluster     second cluster")
for row in probability.max(axis=1).argsort()[:3]:
    print(f"{f'row {row}, a handwritten {digit[row]}':28}", end="")
    for k in probability[row].argsort()[:-3:-1]:
        print(f"  {probability[row, k]:.2f} #{k}, mostly {common[k]}", end="")
    print()
