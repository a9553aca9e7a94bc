"""
=====================
A photo in few colors
=====================

This example reduces a photograph to 12 colors, a classical use of K-means. It clusters
the pixels by color and draws each pixel in the color of its center.
:class:`~skrbf.SoftKMeans` needs no seed, so the palette is the same in every run. With
soft responsibilities, a pixel mixes the colors of a few centers, which removes the
false contours in the sky.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_sample_image

from skrbf import SoftKMeans

# %%
# Palettes
# --------
# The fits use all 273280 pixels. With ``temperature=0`` the model is K-means.

china = load_sample_image("china.jpg")
X = china.reshape(-1, 3).astype(np.float32) / 255
models = {
    "KMeans, one start": KMeans(12, n_init=1, random_state=0),
    "KMeans, ten starts": KMeans(12, n_init=10, random_state=0),
    "SoftKMeans, temperature 0": SoftKMeans(12, temperature=0),
    "SoftKMeans, entmax": SoftKMeans(12, assignment="entmax15"),
}
for name, model in models.items():
    began = time.perf_counter()
    model.fit(X)
    seconds = time.perf_counter() - began
    print(f"{name:26} inertia {model.inertia_:7.2f}  {seconds:5.1f} s")

# %%
# Hard and mixed colors
# ----------------------
# ``transform`` returns the responsibilities. With entmax, they are exactly 0 for most
# centers, so a pixel is a mixture of a few colors.

hard, soft = models["SoftKMeans, temperature 0"], models["SoftKMeans, entmax"]
responsibility = soft.transform(X)  # (273280, 12)
print(f"Each pixel mixes {np.count_nonzero(responsibility, axis=1).mean():.1f} colors.")
n_colors = len(np.unique(X, axis=0))
pictures = {
    f"{n_colors} colors": X,
    "12, one per pixel": hard.cluster_centers_[hard.labels_],
    "12, mixed": responsibility @ soft.cluster_centers_,
}
figure, axes = plt.subplots(1, 3, figsize=(12, 3.2), layout="constrained")
for axis, (title, pixels) in zip(axes, pictures.items(), strict=True):
    error = np.sqrt(np.mean((pixels - X) ** 2))
    axis.imshow(pixels.reshape(china.shape).clip(0, 1))
    axis.set_title(title + (f", error {error:.3f}" if error else ""))
    axis.set_axis_off()
plt.show()
