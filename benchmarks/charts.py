"""Charts of the pages in ``results``, drawn from their tables when the site is built.

A chart comes with the sentence that says what it shows. Both are made from the rows
that the page has, so neither can say anything else than the page. To see one:

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
    """Tables and printed runs of a page, in its order: a list of rows each."""
    found = []
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith("```")]
        if lines[:1] and lines[0].startswith("| "):
            found.append(table(lines))
        elif lines and all(RUN.fullmatch(line) for line in lines):
            found.append([run(line) for line in lines])
    return found


def table(lines):
    """Rows of a table by column. A column "sd" belongs to the one before it."""
    heads, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines
    )
    names = [
        f"{heads[i - 1]} sd" if head == "sd" else head for i, head in enumerate(heads)
    ]
    return [dict(zip(names, map(number, cells), strict=True)) for cells in rows]


def run(line):
    """One printed run of deep clustering, as a row."""
    name, system, *values = RUN.fullmatch(line).groups()
    values = dict(zip(("ACC", "NMI", "ARI", "s"), map(float, values), strict=True))
    return {"set": name, "system": system, "ACC sd": 0.0, **values}


def number(cell):
    """A number, with what stands in brackets behind it left out; else the text."""
    try:
        return float(cell.split(" (")[0])
    except ValueError:
        return cell


def panels(heights):
    """A figure with panels below each other, as high as their numbers of rows."""
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
    """Accuracy of each method on each set."""
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
    share = median(
        a["predict ms"] / b["predict ms"] for a, b in zip(own, svc, strict=True)
    )
    return figure, (
        f"Over {len(sets)} data sets the mean test accuracy of `RBFNetClassifier` is "
        f"{mean(row['accuracy'] for row in own):.2f} %, that of `SVC` with a searched "
        f"`C` {mean(row['accuracy'] for row in svc):.2f} %, and its predictions take "
        f"{100 * share:.1f} % of the time (median)."
    )


def kmeans_quality(text):
    """Inertia and time of every problem, relative to KMeans."""
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
    n, average, most, time = summary.groups()  # of ratios with all their digits
    return figure, (
        f"On {n} problems `SoftKMeans(temperature=0)` has {average} of the inertia of "
        f"`KMeans(n_init=10)` (geometric mean, {most} at most) in {time} of its time "
        "(median)."
    )


def kmeans_speed(text):
    """Time of one iteration relative to KMeans, for each shape."""
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
        f"one of `KMeans`, and a soft one {min(soft):.2f} to {max(soft):.2f} times."
    )


def assignment_maps(text):
    """Time of the sparse maps over that of the library, for each block."""
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
        "long as the kernels that fits compute the sparse maps with."
    )


def threads(text):
    """Time of all threads and of those chosen over that of one, on a busy machine."""
    rows = [row for row in blocks(text)[0] if row["machine"] == "busy"]
    columns = {"all threads": ("all", ORANGE), "those chosen": ("chosen", BLUE)}
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
        "On a busy machine a fit or prediction takes up to "
        f"{max(row['all'] for row in rows):.2f} times as long with all threads as with "
        f"one, and up to {max(row['chosen'] for row in rows):.2f} times with those "
        "that are chosen."
    )


def memory(text):
    """Growth of memory during a fit."""
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
        f"A fit of `SoftKMeans` adds {most:.1f} MB at most to the memory that is in "
        f"use, and one of `KMeans` {peer:.1f} MB."
    )


def accuracies(rows):
    """Mean and standard deviation of the accuracy of each system, in their order."""
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
    """Draw accuracies: `chosen` has rows by the title of their panel."""
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
    """Rows by their set."""
    names = dict.fromkeys(row["set"] for row in rows)
    return {name: [row for row in rows if row["set"] == name] for name in names}


def deep_one_set(text):
    """All systems on one set."""
    figure, every = deep(by_set(blocks(text)[0]))
    ((name, systems),) = every.items()
    return figure, (
        f"By default `DeepCenteringClustering` gets {systems['default'][0]:.1f} % of "
        f"{name} right, K-means of the same codes {systems['AE + K-means'][0]:.1f} %, "
        f"and K-means of the pixels {systems['K-means'][0]:.1f} %."
    )


def deep_clustpy(text):
    """DCN here and in ClustPy."""
    figure, every = deep(by_set(blocks(text)[0]), own=("skrbf DCN, all",))
    pairs = [
        f"{systems['skrbf DCN, all'][0]:.1f} % of {name} right, ClustPy's "
        f"{systems['ClustPy DCN, all'][0]:.1f} %"
        for name, systems in every.items()
    ]
    return figure, f"DCN gets {', and '.join(pairs)}."


def deep_augmented(text):
    """Two lengths of pretraining."""
    *_, short, long = blocks(text)
    chosen = {"50 epochs of pretraining": short, "150 epochs of pretraining": long}
    figure, every = deep(chosen)
    means = [systems["default"][0] for systems in every.values()]
    return figure, (
        "With augmentation `DeepCenteringClustering` gets "
        f"{means[0]:.1f} % of usps right after 50 epochs of pretraining, and "
        f"{means[1]:.1f} % after 150."
    )


def deep_long(text):
    """Long pretraining, with codes that have bounds."""
    convolutions, dense = blocks(text)[:2]
    figure, every = deep({"usps, convolutions": convolutions, "mnist70k, dense": dense})
    said = [
        f"{systems['default'][0]:.1f} % of {title.split(',')[0]} right, and K-means of "
        f"the same codes {systems['AE + K-means'][0]:.1f} %"
        for title, systems in every.items()
    ]
    return figure, (
        "With augmentation and long pretraining `DeepCenteringClustering` gets "
        f"{'; '.join(said)}."
    )


def deep_others(text):
    """Text and objects, with codes that have bounds and without."""
    figure, every = deep(by_set(blocks(text)[-1]))
    said = [
        f"{systems['default'][0]:.1f} % of {name.split('_')[0]} right "
        f"({systems['K-means'][0]:.1f} %)"
        for name, systems in every.items()
    ]
    return figure, (
        "By default `DeepCenteringClustering` gets "
        f"{', '.join(said)}; in brackets, K-means of the rows."
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
