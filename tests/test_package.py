"""The package as a whole: names, style, import, pickles."""

import ast
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import skrbf
import skrbf.nn
import skrbf.ops
import skrbf.plot


def run(code, *args, env=None, **kwargs):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *args],
        capture_output=True,
        check=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
        **kwargs,
    ).stdout


def test_public_names():
    names = {"DeepCenteringClustering", "RBFNetClassifier", "SoftKMeans"}
    assert names <= set(skrbf.__all__)
    assert sorted(set(skrbf.__all__)) == sorted(skrbf.__all__)
    for name in skrbf.__all__:
        assert getattr(skrbf, name).__doc__


def modules():
    """Yield the path and the syntax tree of every module of the package."""
    for path in sorted(Path(skrbf.__file__).parent.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def is_numeric(node):
    """Check for a constant expression with a number in it, and no other values."""
    parts = list(ast.walk(node))
    values = [part.value for part in parts if isinstance(part, ast.Constant)]
    return (
        bool(values)
        and all(isinstance(part, CONSTANT_NODES) for part in parts)
        and all(isinstance(value, int | float) for value in values)
    )


CONSTANT_NODES = (
    ast.Constant,
    ast.Tuple,
    ast.BinOp,
    ast.UnaryOp,
    ast.operator,
    ast.unaryop,
    ast.expr_context,
)


def test_names_of_numeric_constants_are_unique():
    """A reader who looks for a constant finds one definition."""
    defined = {}
    for path, tree in modules():
        for node in tree.body:
            if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
                continue
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {n.id for t in targets for n in ast.walk(t) if hasattr(n, "id")}
            for name in names:
                if name.isupper() and is_numeric(node.value):
                    defined.setdefault(name, []).append(path.name)
    assert len(defined) > 20
    assert not {name: paths for name, paths in defined.items() if len(paths) > 1}


def test_cited_pages_and_test_files_exist():
    root = Path(__file__).parents[1]
    cited = set()
    for path, _ in modules():
        text = re.sub(r"\n\s*#?\s*", "", path.read_text(encoding="utf-8"))
        cited |= set(
            re.findall(r"(?:benchmarks/results|tests)/[\w/]+\.(?:md|py)", text)
        )
    assert len(cited) > 10
    assert not [name for name in cited if not (root / name).exists()]


def test_docstrings_state_what_an_object_is_or_does():
    """Docstrings start with a verb or a noun, not with an indirect question."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    docstrings = [
        (path.name, ast.get_docstring(node) or "")
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, kinds)
    ]
    assert len(docstrings) > 300
    opening = re.compile(r"(What|Where|Whether|How|Those)\b")
    assert not [(name, doc) for name, doc in docstrings if opening.match(doc)]


def test_version():
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?([.a-z].*)?", skrbf.__version__)


@pytest.mark.parametrize("module", [skrbf, skrbf.nn, skrbf.ops, skrbf.plot])
def test_api_page_lists_all_public_names(module):
    page = (Path(__file__).parents[1] / "doc/api.rst").read_text(encoding="utf-8")
    listed = set(re.findall(r"^   (\w+)$|``(\w+)``", page, re.M))
    names = set(module.__all__) - {"__version__"}
    assert names <= {name for pair in listed for name in pair}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_to_files_have_targets(name):
    root = Path(__file__).parents[1]
    links = re.findall(r"\]\(([^)#]+)\)", (root / name).read_text(encoding="utf-8"))
    missing = [
        link for link in links if "://" not in link and not (root / link).exists()
    ]
    assert not missing


def test_figures_of_the_readme_are_on_their_results_pages():
    root = Path(__file__).parents[1]
    readme = (root / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|.*\| (.*) \| .*\((benchmarks/.*?)\) \|$", readme, re.M)
    assert len(rows) == 4
    for answer, page in rows:
        figures = re.findall(r"\d+\.\d+", answer)
        text = (root / page).read_text(encoding="utf-8")
        assert figures
        assert all(re.search(rf"(?<![\d.]){each}(?!\d)", text) for each in figures)


def test_figures_of_the_landing_page_are_on_their_results_pages():
    root = Path(__file__).parents[1]
    page = (root / "doc/index.rst").read_text(encoding="utf-8")
    items = re.findall(r"^- (\*\*.*?):doc:`(results/\w+)`", page, re.M | re.S)
    assert len(items) == 2
    for said, name in items:
        text = (root / "benchmarks" / f"{name}.md").read_text(encoding="utf-8")
        figures = re.findall(r"\d+\.\d+", said)
        assert figures
        assert all(re.search(rf"(?<![\d.]){each}(?!\d)", text) for each in figures)


def test_folder_named_like_the_package_does_not_hide_it(tmp_path):
    # Python may be started in the folder that contains a clone.
    (tmp_path / "skrbf/skrbf").mkdir(parents=True)
    (tmp_path / "skrbf/README.md").touch()
    code = "import skrbf; print(skrbf.SoftKMeans.__name__)"
    assert run(code, cwd=tmp_path).strip() == b"SoftKMeans"


def test_import_has_no_side_effects():
    code = """
import logging, os, random, sys, warnings
import numpy as np, torch, sklearn
import sklearn.base, sklearn.cluster, sklearn.pipeline, scipy.sparse

def state():
    return (
        random.getstate(),
        [np.asarray(part).tolist() for part in np.random.get_state()],
        torch.get_rng_state().tolist(),
        torch.get_num_threads(),
        torch.get_num_interop_threads(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(),
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.benchmark,
        np.geterr(),
        np.get_printoptions(),
        sklearn.get_config(),
        dict(os.environ),
        logging.root.level,
        list(logging.root.handlers),
        warnings.filters[:],
    )

before, loaded = state(), set(sys.modules)
import skrbf
assert state() == before
assert not torch.cuda.is_initialized()
new = set(sys.modules) - loaded
assert not new & {"matplotlib", "pandas", "polars", "rich", "dask"}
"""
    assert run(code) == b""


@pytest.mark.parametrize(
    "estimator",
    [
        skrbf.SoftKMeans(4, assignment="entmax15"),
        skrbf.RBFNetClassifier(4, max_iter=3, random_state=0),
        skrbf.DeepCenteringClustering(
            2,
            n_components=2,
            hidden_layer_sizes=(4,),
            pretrain_epochs=1,
            max_iter=1,
            random_state=0,
        ),
    ],
)
def test_pickle_works_in_another_process(estimator):
    X = np.random.default_rng(0).normal(size=(60, 3))
    y = np.arange(60) % 2
    est = estimator.fit(X, y)
    code = """
import pickle, sys
est, X, y = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(pickle.dumps((est.predict_proba(X), est.fit(X, y).predict(X))))
"""
    r, labels = pickle.loads(run(code, input=pickle.dumps((est, X, y))))
    np.testing.assert_array_equal(r, est.predict_proba(X))
    np.testing.assert_array_equal(labels, est.predict(X))


def test_pickle_contains_no_tensor():
    est = skrbf.SoftKMeans(3).fit(np.random.default_rng(0).normal(size=(60, 3)))
    assert b"torch" not in pickle.dumps(est)


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_same_result_in_another_process(hash_seed):
    code = """
import numpy as np, sys
from skrbf import RBFNetClassifier, SoftKMeans
X = np.random.default_rng(0).normal(size=(200, 4))
est = RBFNetClassifier(9, random_state=0).fit(X, np.arange(200) % 3)
sys.stdout.buffer.write(est.coef_.tobytes())
for params in ({}, {"init": "k-means++", "temperature": 0, "random_state": 0}):
    sys.stdout.buffer.write(SoftKMeans(6, **params).fit(X).cluster_centers_.tobytes())
"""
    X = np.random.default_rng(0).normal(size=(200, 4))
    est = skrbf.RBFNetClassifier(9, random_state=0).fit(X, np.arange(200) % 3)
    here = est.coef_.tobytes() + b"".join(
        skrbf.SoftKMeans(6, **params).fit(X).cluster_centers_.tobytes()
        for params in ({}, {"init": "k-means++", "temperature": 0, "random_state": 0})
    )
    assert run(code, env={"PYTHONHASHSEED": hash_seed}) == here
