"""Shared by the displays: lazy import of matplotlib, axes and styles."""

import numpy as np


def load_pyplot(caller):
    """Import `matplotlib.pyplot`, only when something is drawn."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{caller} requires matplotlib. You can install it with "
            "`pip install matplotlib`."
        ) from error
    return plt


def line_style(default, given):
    """Merge properties of lines; `given` wins, also by matplotlib's short names."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    return default | normalize_kwargs(given or {}, Line2D)


def scatter_style(default, given):
    """Merge properties of points; a given `color` replaces the default `c`."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.collections import Collection

    given = dict(given or {})
    if "c" in given:  # a short name of color, but not to `scatter`
        given["color"] = given.pop("c")
    given = normalize_kwargs(given, Collection)
    default = {name: value for name, value in default.items() if name not in given}
    if given.keys() & {"color", "facecolor"}:
        default.pop("c", None)
    return default | given


def one_axes(caller, ax):
    """Return `ax`, or the axes of a new figure."""
    plt = load_pyplot(caller)
    return plt.subplots(layout="constrained")[1] if ax is None else ax


def panels(caller, ax, height_ratios, n_columns=1, *, size=(6.4, 4.8), share_x=False):
    """Create axes (n_rows, n_columns) in the area of `ax` or in a new figure.

    Also return the frame around them, `ax` or new, which is switched off.
    """
    plt = load_pyplot(caller)
    if ax is None:
        ax = plt.subplots(figsize=size, layout="constrained")[1]
    subplot = ax.get_subplotspec()
    if subplot is None:
        raise ValueError(
            f"{caller} divides ax into panels, so ax must come from plt.subplots() or "
            "figure.add_subplot()."
        )
    n_rows = len(height_ratios)
    grid = subplot.subgridspec(n_rows, n_columns, height_ratios=height_ratios)
    ax.set_axis_off()
    axes = np.empty((n_rows, n_columns), dtype=object)
    for i, j in np.ndindex(n_rows, n_columns):
        shared = axes[0, j] if share_x and i else None
        axes[i, j] = ax.figure.add_subplot(grid[i, j], sharex=shared)
        if share_x and i < n_rows - 1:
            axes[i, j].tick_params(labelbottom=False)
    return ax, axes
