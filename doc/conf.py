"""Sphinx settings: https://www.sphinx-doc.org/en/master/usage/configuration.html."""

import sys
from pathlib import Path

from skrbf import __version__

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "benchmarks"))

import charts  # noqa: E402

project = "skrbf"
author = "the skrbf developers"
copyright = "2026, the skrbf developers"
version = release = __version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # the files of MathJax, to be read without a network
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "conftest.py"]
default_role = "literal"
numfig = True  # equations get the number of their page
math_eqref_format = "Eq. {number}"
myst_heading_anchors = 2

# numpydoc would list every inherited method in a toctree of pages that do not exist.
numpydoc_show_class_members = False
toc_object_entries_show_parents = "hide"

# A broken reference is a warning, and warnings are errors. References to other projects
# are not resolved, because that needs their servers.
nitpicky = True
nitpick_ignore_regex = [
    (
        r"py:.*",
        r"(collections|joblib|matplotlib|numpy|pickle|sklearn|torch|typing)(\..*)?",
    ),
    (r"std:ref", r"accuracy_score"),  # in the docstring of an inherited method
]

copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "subsection_order": [
        f"../examples/{section}"
        for section in (
            "clustering",
            "deep_clustering",
            "rbf_networks",
            "layers_and_callbacks",
        )
    ],
    "within_subsection_order": "ExampleTitleSortKey",
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"(^|/)(?!plot_)[^/]*\.py$",
    "doc_module": ("skrbf",),
    "remove_config_comments": True,
    "backreferences_dir": "generated/backreferences",
    "reference_url": {"skrbf": None},
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "skrbf"
html_static_path = ["_static"]
html_css_files = ["skrbf.css"]
html_favicon = html_logo = "_static/logo.svg"
html_context = {"default_mode": "auto"}
html_theme_options = {
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "header_links_before_dropdown": 6,
    "logo": {"text": "skrbf"},
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "show_prev_next": False,
    "show_toc_level": 2,
}
html_sidebars = {
    name: []
    for name in (
        "index",
        "install",
        "getting_started",
        "changelog",
        "contributing",
        "cite",
    )
}
html_show_sourcelink = False


def setup(app):
    """Write a page with a chart for each file in ``benchmarks/results``."""
    for path in charts.RESULTS.glob("*.md"):
        charts.write(path, HERE / "results")
