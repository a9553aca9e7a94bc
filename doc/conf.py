"""Sphinx settings: https://www.sphinx-doc.org/en/master/usage/configuration.html."""

from skrbf import __version__

project = "skrbf"
author = "the skrbf developers"
copyright = "2026, the skrbf developers"
version = release = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
default_role = "literal"

# numpydoc would list every inherited method in a toctree of pages that do not exist.
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"(^|/)(?!plot_)[^/]*\.py$",
    "doc_module": ("skrbf",),
    "backreferences_dir": "generated/backreferences",
    "reference_url": {"skrbf": None},
}

html_theme = "pydata_sphinx_theme"
html_title = "skrbf"
html_theme_options = {"show_prev_next": False}
html_show_sourcelink = False
