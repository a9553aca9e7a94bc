"""Examples run as notebooks, as the gallery offers them.

Collected only if the packages that make and run notebooks are installed: conftest.py.
"""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from sphinx_gallery.gen_gallery import DEFAULT_GALLERY_CONF
from sphinx_gallery.notebook import jupyter_notebook
from sphinx_gallery.py_source_parser import split_code_and_text_blocks

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["clustering/plot_doubtful_digits", "rbf_networks/plot_rbfnet_prototypes"]
)
def test_notebook_runs_without_unexpected_output(name, tmp_path, monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)  # figures go into the notebook
    _, blocks = split_code_and_text_blocks(str(EXAMPLES / f"{name}.py"))
    made = jupyter_notebook(blocks, dict(DEFAULT_GALLERY_CONF), str(tmp_path))
    notebook = nbformat.reads(json.dumps(made), as_version=4)

    NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(EXAMPLES)}},
    ).execute()

    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert sum(out.output_type == "display_data" for c in cells for out in c.outputs)
    for cell in cells:
        said = [out for out in cell.outputs if out.output_type == "stream"]
        assert not [out.text for out in said if out.name == "stderr"]
        assert "print(" in cell.source or not said
