"""Compare times of the assignment maps: engine kernels and the entmax library.

Each map turns the same float32 logits into responsibilities:

- softmax, entmax15, sparsemax: the kernels of ``skrbf.ops.assignment``, on a block
  (k, n), written to allocated memory, with the value of the free energy. The sparse
  maps find their threshold by Newton's method;
- library: ``entmax.entmax15`` and ``entmax.sparsemax`` on the same logits as contiguous
  (n, k), the usual layout. They sort every row, and compute no value;
- torch: ``torch.softmax`` of (n, k).

The logits are -d / T with the squared distances d of normal rows to k normal centers. T
is chosen so that a given fraction of the rows is one-hot under sparsemax. All run in
turn in one process, after one call of each to warm up. The output is medians over the
repeats in milliseconds, and the time of the library over that of the kernel. The last
two columns are the largest errors of responsibilities in float32, of the kernels and of
the library, over both sparse maps; the library in float64 is the reference. Run as

    python benchmarks/assignment_maps.py
    python benchmarks/assignment_maps.py --clusters 50 --numbers 1000000
"""

import argparse
import statistics

import entmax
import torch
from _common import Report, alternate, environment

from skrbf.ops.assignment import ASSIGNMENTS

N_FEATURES = 16


def make_logits(k, numbers, share, seed=0):
    """Return logits (k, n) of about `numbers` values, a `share` of rows one-hot."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(numbers // k, N_FEATURES, generator=generator)
    centers = torch.randn(k, N_FEATURES, generator=generator)
    d = torch.cdist(centers, rows).square()  # (k, n)
    first, second = d.topk(2, dim=0, largest=False).values
    temperature = torch.quantile(second - first, 1 - share)
    return d / -temperature


def measure(z, repeats):
    """Return median milliseconds per method, and errors of the sparse maps."""
    rows, out = z.t().contiguous(), torch.empty_like(z)
    actions = {
        name: lambda a=assignment: a.function(z, out)
        for name, assignment in ASSIGNMENTS.items()
    }
    actions["torch"] = lambda: torch.softmax(rows, 1)
    actions["library entmax15"] = lambda: entmax.entmax15(rows, dim=1)
    actions["library sparsemax"] = lambda: entmax.sparsemax(rows, dim=1)
    for action in actions.values():
        action()
    seconds, _ = alternate(actions, repeats)
    milliseconds = {
        name: 1e3 * statistics.median(each) for name, each in seconds.items()
    }
    kernel, library = 0.0, 0.0
    for name in ("entmax15", "sparsemax"):
        function = getattr(entmax, name)
        exact = function(rows.double(), dim=1)
        found = ASSIGNMENTS[name].function(z)[0].t()
        kernel = max(kernel, float((found - exact).abs().max()))
        library = max(library, float((function(rows, dim=1) - exact).abs().max()))
    return milliseconds, kernel, library


def main():
    """Parse arguments and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clusters", nargs="+", type=int, default=[8, 100, 1000])
    parser.add_argument("--numbers", type=int, default=500_000, help="of a block")
    parser.add_argument("--shares", nargs="+", type=float, default=[0.1, 0.5, 0.9])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--output", help="write the same as Markdown to this file")
    args = parser.parse_args()
    with Report("Time of the assignment maps", args.output) as report:
        report.items(environment("numpy", "torch", "entmax", "skrbf"))
        report.say(
            f"Blocks of {args.numbers} float32 numbers, {args.repeats} repeats, "
            "milliseconds"
        )
        table = report.table(
            k=">5d",
            one_hot=">5.1f",
            torch=">6.2f",
            softmax=">6.2f",
            entmax15=">6.2f",
            entmax15_library=">7.2f",
            entmax15_times=">5.1f",
            sparsemax=">6.2f",
            sparsemax_library=">7.2f",
            sparsemax_times=">5.1f",
            error=">8.1e",
            library_error=">8.1e",
        )
        for k in args.clusters:
            for share in args.shares:
                z = make_logits(k, args.numbers, share)
                ms, error, library_error = measure(z, args.repeats)
                pairs = (
                    value
                    for name in ("entmax15", "sparsemax")
                    for value in (
                        ms[name],
                        ms[f"library {name}"],
                        ms[f"library {name}"] / ms[name],
                    )
                )
                table.add(
                    k, share, ms["torch"], ms["softmax"], *pairs, error, library_error
                )


if __name__ == "__main__":
    main()
