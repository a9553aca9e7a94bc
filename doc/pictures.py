"""Draw the figures of the README and the guide: python doc/pictures.py.

The repository contains the figures, because the README shows one without a built site,
and because the site can be built without its gallery.
"""

import runpy
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # before an example imports pyplot

import matplotlib.pyplot as plt
from sklearn.datasets import make_blobs

from skrbf import SoftKMeans
from skrbf.plot import ResponsibilitiesDisplay

HERE = Path(__file__).parent


def landing():
    """Draw three temperatures, with large labels that are legible on a phone."""
    means = [[-2.5, 0.5], [2.2, 2.5], [2.5, -1.5], [-0.5, -3.5]]
    X, _ = make_blobs(300, centers=means, cluster_std=1.1, random_state=0)
    figure, axes = plt.subplots(1, 3, figsize=(4.8, 2), layout="constrained")
    for axis, temperature in zip(axes, (0.4, 0.15, 0), strict=True):
        model = SoftKMeans(4, temperature=temperature).fit(X)
        ResponsibilitiesDisplay.from_estimator(
            model, X, ax=axis, scatter_kwargs={"s": 4, "linewidth": 0.2}
        )
        axis.set(xlabel="", ylabel="", xticks=[], yticks=[])
        name = f"temperature {temperature}" if temperature else "0 is K-means"
        axis.set_title(name, fontsize=10)
    return figure


def surface():
    """Draw the first figure of an example."""
    runpy.run_path(str(HERE.parent / "examples/rbf_networks/plot_rbfnet_prototypes.py"))
    return plt.figure(1)


if __name__ == "__main__":
    landing().savefig(HERE / "_static/landing.png", dpi=220)
    plt.close("all")
    surface().savefig(HERE / "_static/rbfnet_surface.png", dpi=110)
