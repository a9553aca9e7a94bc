"""Charts of the pages in ``results``, drawn from their tables when the site is built.

Each chart has a sentence that summarizes it. Both are computed from the tables of the
page, so they cannot contradict the page. To draw one chart:

    python benchmarks/charts.py kmeans_quality      # writes kmeans_quality.svg
"""

import argparse
import re
from pathlib import Path
from statistics import mean, median, pstdev

import matplotlib
from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
PINK, SKY = "#CC79A7", "#56B4E9"
GREY = "0.45"
WIDTH = 5.0  # inches: shrunk to a phone, letters can still be read
RUN = re.compile(r"(\S+) (.+): ACC (\S+) NMI (\S+) ARI (\S+) in (\S+) s")


def blocks(text):
    """Return the tables and printed runs of a page in order, each a list of rows."""
    found = []
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith("```")]
        if lines[:1] and lines[0].startswith("| "):
            found.append(table(lines))
        elif lines and all(RUN.fullmatch(line) for line in lines):
            found.append([run(line) for line in lines])
    return found


def table(lines):
    """Return rows of a table by column. A column "sd" belongs to the one before it."""
    heads, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines
    )
    names = [
        f"{heads[i - 1]} sd" if head == "sd" else head for i, head in enumerate(heads)
    ]
    return [dict(zip(names, map(number, cells), strict=True)) for cells in rows]


def run(line):
    """Parse one printed run of deep clustering into a row."""
    name, system, *values = RUN.fullmatch(line).groups()
    values = dict(zip(("ACC", "NMI", "ARI", "s"), map(float, values), strict=True))
    return {"set": name, "system": system, "ACC sd": 0.0, **values}


def number(cell):
    """Convert a cell to a number without its note in brackets, or return its text."""
    try:
        return float(cell.split(" (")[0])
    except ValueError:
        return cell


def panels(heights):
    """Create a figure with stacked panels, whose heights are their numbers of rows."""
    size = (WIDTH, 0.7 * len(heights) + 0.24 * sum(heights))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)
    for axis in axes[:, 0]:
        axis.grid(axis="x", color="0.9")
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_axisbelow(True)
    return figure, axes[:, 0]


def name_rows(axis, names):
    """Write the name of each row, the first at the top."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)


def classifiers(text):
    """Plot the accuracy of each method on each set."""
    rows = blocks(text)[0]
    styles = {
        "RBFNetClassifier": {"c": BLUE, "marker": "o", "s": 50, "zorder": 3},
        "SVC": {"c": ORANGE, "marker": "s"},
        "Nystroem": {"c": GREEN, "marker": "^"},
        "MLP": {"c": PINK, "marker": "v"},
        "HGB": {"c": SKY, "marker": "D"},
    }
    sets = list(dict.fromkeys(row["set"] for row in rows))
    figure, (axis,) = panels([len(sets) + 2])
    of = {method: [row for row in rows if row["method"] == method] for method in styles}
    for method, style in styles.items():
        axis.scatter(
            [row["accuracy"] for row in of[method]],
            [sets.index(row["set"]) for row in of[method]],
            label=method,
            **style,
        )
    name_rows(axis, sets)
    axis.set_xlabel("test accuracy, %")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    own, svc = of["RBFNetClassifier"], of["SVC"]
    ratio = median(
        a["predict ms"] / b["predict ms"] for a, b in zip(own, svc, strict=True)
    )
    return figure, (
        f"Over {len(sets)} data sets, `RBFNetClassifier` has a mean test accuracy of "
        f"{mean(row['accuracy'] for row in own):.2f} %, and `SVC` with `C` from a "
        f"search has {mean(row['accuracy'] for row in svc):.2f} %. The predictions of "
        f"`RBFNetClassifier` take {100 * ratio:.1f} % of the time of `SVC` (median)."
    )


def kmeans_quality(text):
    """Plot inertia and time of every problem, relative to KMeans."""
    rows = blocks(text)[0]
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axis = figure.subplots()
    axis.axhline(1, color="0.7", lw=1)
    axis.axvline(1, color="0.7", lw=1)
    groups = {
        "below 8 clusters": (SKY, "v", 0, 8),
        "8 to 19": (ORANGE, "s", 8, 20),
        "20 and more": (BLUE, "o", 20, float("inf")),
    }
    for name, (color, marker, low, high) in groups.items():
        here = [row for row in rows if low <= row["k"] < high]
        axis.scatter(
            [row["time SoftKMeans"] for row in here],
            [row["inertia SoftKMeans"] for row in here],
            c=color, marker=marker, s=24, alpha=0.8, label=name,
        )  # fmt: skip
    axis.set_xscale("log")
    axis.set_xticks([0.1, 0.2, 0.5, 1], ["0.1", "0.2", "0.5", "1"])
    axis.set_xticks([], minor=True)
    axis.set(xlabel="time / time of KMeans", ylabel="inertia / inertia of KMeans")
    axis.legend(loc="lower right", frameon=False)
    summary = re.search(
        r"^SoftKMeans / KMeans on (\d+) problems: .*mean (\S+), max (\S+), .*"
        r"time ratio median (\S+),",
        text,
        re.M,
    )
    n, average, most, time = summary.groups()  # computed from unrounded ratios
    return figure, (
        f"On {n} problems, the inertia of `SoftKMeans(temperature=0)` is {average} of "
        f"that of `KMeans(n_init=10)` (geometric mean; maximum {most}), and its time "
        f"is {time} of that of `KMeans` (median)."
    )


def kmeans_speed(text):
    """Plot the time of one iteration relative to KMeans, for each shape."""
    rows = blocks(text)[0]
    columns = {
        "temperature 0": ("hard/KMeans", BLUE),
        "temperature 0.05": ("softmax/KMeans", ORANGE),
        'temperature "auto"': ("auto/KMeans", GREEN),
    }
    figure, (axis,) = panels([4 * len(rows)])
    for i, (name, (column, color)) in enumerate(columns.items()):
        places = [j + 0.27 * (i - 1) for j in range(len(rows))]
        ratios = [row[column] for row in rows]
        axis.barh(places, ratios, height=0.25, color=color, label=name)
    axis.axvline(1, color="k", lw=1)
    shapes = [f"{row['n']:.0f} x {row['d']:.0f}, k = {row['k']:.0f}" for row in rows]
    name_rows(axis, shapes)
    axis.set_xlabel("time of one iteration / that of KMeans")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    hard = [row["hard/KMeans"] for row in rows]
    soft = [row["softmax/KMeans"] for row in rows]
    return figure, (
        f"A hard iteration takes {min(hard):.2f} to {max(hard):.2f} times as long as "
        f"an iteration of `KMeans`, and a soft iteration {min(soft):.2f} to "
        f"{max(soft):.2f} times as long."
    )


def assignment_maps(text):
    """Plot the time of the library relative to the sparse maps, for each block."""
    rows = blocks(text)[0]
    columns = {
        "entmax-1.5": ("entmax15 times", BLUE),
        "sparsemax": ("sparsemax times", ORANGE),
    }
    figure, (axis,) = panels([2 * len(rows)])
    for i, (name, (column, color)) in enumerate(columns.items()):
        places = [j + 0.38 * (i - 0.5) for j in range(len(rows))]
        ratios = [row[column] for row in rows]
        axis.barh(places, ratios, height=0.35, color=color, label=name)
    axis.axvline(1, color="k", lw=1)
    name_rows(
        axis, [f"k = {row['k']:.0f}, {row['one hot']:.0%} one-hot" for row in rows]
    )
    axis.set_xlabel("time of the library / that of the kernel")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    ratios = [row[column] for row in rows for column, _ in columns.values()]
    return figure, (
        f"The library entmax takes {min(ratios):.1f} to {max(ratios):.1f} times as "
        "long as the kernels of skrbf for the sparse maps."
    )


def threads(text):
    """Plot the time with all and with the chosen threads relative to one thread."""
    rows = [row for row in blocks(text)[0] if row["machine"] == "busy"]
    columns = {"all threads": ("all", ORANGE), "chosen number": ("chosen", BLUE)}
    figure, (axis,) = panels([2 * len(rows)])
    for i, (name, (column, color)) in enumerate(columns.items()):
        places = [j + 0.38 * (i - 0.5) for j in range(len(rows))]
        ratios = [row[column] for row in rows]
        axis.barh(places, ratios, height=0.35, color=color, label=name)
    axis.axvline(1, color="k", lw=1)
    axis.set_xscale("log")
    name_rows(axis, [f"{row['problem']}: {row['call']}" for row in rows])
    axis.set_xlabel("time on a busy machine / that of one thread")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure, (
        "On a busy machine, a fit or a prediction takes up to "
        f"{max(row['all'] for row in rows):.2f} times as long with all threads as with "
        f"one thread, and up to {max(row['chosen'] for row in rows):.2f} times as long "
        "with the number of threads that skrbf chooses."
    )


def solvers(text):
    """Plot the time of L-BFGS relative to that of skrbf."""
    rows = blocks(text)[0]
    own = {row["data"]: row for row in rows if row["solver"] == "skrbf"}
    others = [row for row in rows if row["solver"] != "skrbf"]
    colors = {"torch": ORANGE, "torch unwatched": PINK, "scipy": GREEN}
    figure, (axis,) = panels([len(others)])
    ratios = [row["seconds"] / own[row["data"]]["seconds"] for row in others]
    axis.barh(
        range(len(others)), ratios, color=[colors[row["solver"]] for row in others]
    )
    axis.axvline(1, color="k", lw=1)
    name_rows(axis, [f"{row['data']}: {row['solver']}" for row in others])
    axis.set_xlabel("time of L-BFGS / that of skrbf")
    watched = [
        row["evaluations"] / own[row["data"]]["evaluations"]
        for row in others
        if row["solver"] == "torch"
    ]
    return figure, (
        "With a hook after every iteration, the L-BFGS of torch evaluates the function "
        f"{mean(watched):.1f} times as often as that of skrbf."
    )


def memory(text):
    """Plot the growth of memory during a fit."""
    rows = blocks(text)[0]
    figure, (axis,) = panels([len(rows)])
    colors = [ORANGE if row["case"] == "kmeans" else BLUE for row in rows]
    axis.barh(range(len(rows)), [row["fit"] for row in rows], color=colors)
    name_rows(
        axis,
        ["KMeans" if row["case"] == "kmeans" else row["case"] for row in rows],
    )
    axis.set_xlabel("growth of memory in fit, MB")
    most = max(row["fit"] for row in rows if row["case"] != "kmeans")
    (peer,) = (row["fit"] for row in rows if row["case"] == "kmeans")
    return figure, (
        f"A fit of `SoftKMeans` adds at most {most:.1f} MB to the memory in use, and a "
        f"fit of `KMeans` adds {peer:.1f} MB."
    )


def accuracies(rows):
    """Compute mean and standard deviation of the accuracy of each system, in order."""
    found = {}
    for row in rows:
        found.setdefault(row["system"], []).append(row)
    return {
        system: (
            mean(row["ACC"] for row in each),
            each[0]["ACC sd"] if len(each) == 1 else pstdev(row["ACC"] for row in each),
        )
        for system, each in found.items()
    }


def deep(chosen, own=("default",)):
    """Plot accuracies; `chosen` maps the title of each panel to its rows."""
    every = {title: accuracies(rows) for title, rows in chosen.items()}
    figure, axes = panels([len(systems) for systems in every.values()])
    for axis, (title, systems) in zip(axes, every.items(), strict=True):
        for place, (system, (value, sd)) in enumerate(systems.items()):
            color = BLUE if system in own else GREY
            axis.errorbar(value, place, xerr=sd, fmt="o", color=color, capsize=3)
        name_rows(axis, list(systems))
        axis.set_title(title, loc="left", fontsize=10)
    axes[-1].set_xlabel("accuracy, % (bars: standard deviation over seeds)")
    return figure, every


def by_set(rows):
    """Group rows by data set."""
    names = dict.fromkeys(row["set"] for row in rows)
    return {name: [row for row in rows if row["set"] == name] for name in names}


def deep_one_set(text):
    """Plot all systems on one set."""
    figure, every = deep(by_set(blocks(text)[0]))
    ((name, systems),) = every.items()
    return figure, (
        "With default parameters, `DeepCenteringClustering` clusters "
        f"{systems['default'][0]:.1f} % of {name} correctly, K-means on the same "
        f"pretrained codes {systems['AE + K-means'][0]:.1f} %, and K-means on the "
        f"pixels {systems['K-means'][0]:.1f} %."
    )


def deep_clustpy(text):
    """Plot DCN in skrbf and in ClustPy."""
    figure, every = deep(by_set(blocks(text)[0]), own=("skrbf DCN, all",))
    pairs = [
        f"{systems['skrbf DCN, all'][0]:.1f} % and "
        f"{systems['ClustPy DCN, all'][0]:.1f} % on {name}"
        for name, systems in every.items()
    ]
    return figure, (
        "The accuracies of DCN in skrbf and in ClustPy are "
        f"{', and '.join(pairs)}, respectively."
    )


def deep_augmented(text):
    """Plot two lengths of pretraining."""
    *_, short, long = blocks(text)
    chosen = {"50 epochs of pretraining": short, "150 epochs of pretraining": long}
    figure, every = deep(chosen)
    means = [systems["default"][0] for systems in every.values()]
    return figure, (
        "With augmentation, `DeepCenteringClustering` clusters "
        f"{means[0]:.1f} % of usps correctly after 50 epochs of pretraining, and "
        f"{means[1]:.1f} % after 150 epochs."
    )


def deep_long(text):
    """Plot runs with long pretraining and bounded codes."""
    convolutions, dense = blocks(text)[:2]
    figure, every = deep({"usps, convolutions": convolutions, "mnist70k, dense": dense})
    said = [
        f"{systems['default'][0]:.1f} % of {title.split(',')[0]} correctly "
        f"({systems['AE + K-means'][0]:.1f} %)"
        for title, systems in every.items()
    ]
    return figure, (
        "With augmentation and long pretraining, `DeepCenteringClustering` clusters "
        f"{' and '.join(said)}; in brackets, K-means on the same pretrained codes."
    )


def deep_others(text):
    """Plot text and objects, with bounded and with unbounded codes."""
    figure, every = deep(by_set(blocks(text)[-1]))
    said = [
        f"{systems['default'][0]:.1f} % of {name.split('_')[0]} "
        f"({systems['K-means'][0]:.1f} %)"
        for name, systems in every.items()
    ]
    return figure, (
        "With default parameters, `DeepCenteringClustering` correctly clusters "
        f"{', '.join(said)}; in brackets, K-means on the rows."
    )


PAGES = {
    "assignment_maps": assignment_maps,
    "classifiers": classifiers,
    "deep_clustering_clustpy": deep_clustpy,
    "deep_clustering_mnist_and_conv": deep_long,
    "deep_clustering_optdigits": deep_one_set,
    "deep_clustering_others": deep_others,
    "deep_clustering_usps": deep_one_set,
    "deep_clustering_usps_augmented": deep_augmented,
    "kmeans_quality": kmeans_quality,
    "kmeans_speed": kmeans_speed,
    "memory": memory,
    "solvers": solvers,
    "threads": threads,
}


def write(page, folder):
    """Write a page with its chart and sentence below its title, and the chart."""
    text = page.read_text(encoding="utf-8")
    figure, sentence = PAGES[page.stem](text)
    # The same bytes from the same table.
    with matplotlib.rc_context({"svg.hashsalt": page.stem}):
        figure.savefig(folder / f"{page.stem}.svg", metadata={"Date": None})
    title, rest = text.split("\n", 1)
    chart = f"![{sentence.replace('`', '')}]({page.stem}.svg)"
    opened = f"{title}\n\n{sentence}\n\n{chart}\n{rest}"
    (folder / page.name).write_text(opened, encoding="utf-8")


def main():
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("page", choices=PAGES)
    name = parser.parse_args().page
    figure, sentence = PAGES[name]((RESULTS / f"{name}.md").read_text(encoding="utf-8"))
    figure.savefig(f"{name}.svg")
    print(sentence)


if __name__ == "__main__":
    main()
