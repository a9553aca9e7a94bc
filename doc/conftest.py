"""Restrict doctests to the pages of the documentation that are written by hand."""

import importlib.util

collect_ignore = [
    "_build",
    "auto_examples",
    "conf.py",
    "generated",
    "pictures.py",
    "results",
]
if importlib.util.find_spec("sklearn.callback") is None:  # scikit-learn < 1.9
    collect_ignore.append("guide/callbacks.rst")
