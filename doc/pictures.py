"""Draw the pictures that the README and the guide show: python doc/pictures.py.

They are kept in the repository, because the README shows one where no site is built,
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
    """Three temperatures, in few and large letters: it is read on a phone too."""
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
    """The first figure of an example."""
    runpy.run_path(str(HERE.parent / "examples/rbf_networks/plot_rbfnet_prototypes.py"))
    return plt.figure(1)


if __name__ == "__main__":
    landing().savefig(HERE / "_static/landing.png", dpi=220)
    plt.close("all")
    surface().savefig(HERE / "_static/rbfnet_surface.png", dpi=110)
