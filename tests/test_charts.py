"""Charts of the results pages, and their summary sentences."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "benchmarks/results").glob("*.md"))


@pytest.fixture
def charts(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import charts

    yield charts
    del sys.modules["charts"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_starts_with_a_sentence_and_a_chart(page, charts, tmp_path):
    charts.write(page, tmp_path)
    title, sentence, image, rest = (
        (tmp_path / page.name).read_text(encoding="utf-8").split("\n\n", 3)
    )
    assert title.startswith("# ")
    assert re.fullmatch(r"[A-Z][^\n]*\d[^\n]*\.", sentence)
    assert image.endswith(f"({page.stem}.svg)")
    assert rest in page.read_text(encoding="utf-8")
    picture = (tmp_path / f"{page.stem}.svg").read_bytes()
    charts.write(page, tmp_path)
    assert (tmp_path / f"{page.stem}.svg").read_bytes() == picture


# Figures that are not on the pages: means of several rows, an inverse of a ratio.
COMPUTED = {
    "classifiers": {"3.3"},
    "deep_clustering_mnist_and_conv": {"87.4", "96.8"},
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_figures_of_a_sentence_are_on_its_page(page, charts):
    text = page.read_text(encoding="utf-8")
    _, sentence = charts.PAGES[page.stem](text)
    figures = set(re.findall(r"\d+\.\d+", sentence)) - COMPUTED.get(page.stem, set())
    assert figures
    missing = [
        each for each in figures if not re.search(rf"(?<![\d.]){each}(?!\d)", text)
    ]
    assert not missing


def test_sentence_is_computed_from_the_table(charts):
    text = (ROOT / "benchmarks/results/deep_clustering_optdigits.md").read_text()
    row = "| optdigits | default | 10 | 94.7 |"
    assert text.count(row) == 1
    figure, said = charts.deep_one_set(text.replace(row, row.replace("94.7", "12.5")))
    assert "12.5 % of optdigits" in said
    assert "94.7" not in said
    (axis,) = figure.axes
    names = [label.get_text() for label in axis.get_yticklabels()]
    line = axis.containers[names.index("default")].lines[0]
    assert line.get_xydata().tolist() == [[12.5, names.index("default")]]


def test_parse_tables_and_printed_runs(charts):
    text = """# Title

- a list

| set | ACC | sd | NMI | sd  | ratio |
| --- | ---: | ---: | ---: | ---: | ---: |
| usps | 66.8 | 0.1 | 62.7 | 0.2 | 1.53 (<=2.5) |
| dna | - | - | 3 | 4 | - |

```bash
no run
```

```text
usps AE + K-means: ACC 92.5 NMI 85.2 ARI 85.5 in 992 s
```
"""
    rows, runs = charts.blocks(text)
    assert rows == [
        {"set": "usps", "ACC": 66.8, "ACC sd": 0.1, "NMI": 62.7, "NMI sd": 0.2,
         "ratio": 1.53},
        {"set": "dna", "ACC": "-", "ACC sd": "-", "NMI": 3.0, "NMI sd": 4.0,
         "ratio": "-"},
    ]  # fmt: skip
    assert runs == [
        {"set": "usps", "system": "AE + K-means", "ACC": 92.5, "ACC sd": 0.0,
         "NMI": 85.2, "ARI": 85.5, "s": 992.0}
    ]  # fmt: skip


def test_pages_name_methods():
    for page in PAGES:
        assert not re.search(r"\bours?\b", page.read_text(encoding="utf-8")), page
