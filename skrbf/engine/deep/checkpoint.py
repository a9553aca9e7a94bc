"""Checkpoint files, from which an interrupted fit resumes."""

import os
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from skrbf.engine.deep.state import Training, state_to_dict
from skrbf.engine.training.records import Record

_KEYS = {"records", "phase", "epoch", "began"}
_KEYS |= {"module", "optimizer", "generator"}
_CLUSTER_KEYS = {"centers", "mass"}


class NoCheckpoint:
    """The checkpoint of a fit that writes none."""

    saved = None

    def write(self, training: Training, records: Sequence[Record]) -> None:
        """Do nothing."""

    def remove(self) -> None:
        """Do nothing."""


class Checkpoint:
    """A file that is written after every epoch and removed after the last.

    Parameters
    ----------
    path : str or path-like
    configuration : mapping of str to str
        Fingerprints of what the fits before and after an interruption must have in
        common, by the names that an error message has for them.

    Raises
    ------
    ValueError
        If the file is no checkpoint, or that of a fit with other parameters or data.
    FileNotFoundError, PermissionError
        If its folder is not there, or may not be written to.
    IsADirectoryError
        If it is a folder itself.
    """

    def __init__(
        self, path: str | os.PathLike[str], configuration: Mapping[str, str]
    ) -> None:
        self.path = Path(path)
        self.configuration = {**configuration, "layout": " ".join(Record._fields)}
        self.saved = self._load()

    def _load(self) -> dict[str, Any] | None:
        """Read the file, to the CPU; None where there is none."""
        name = f"checkpoint={str(self.path)!r}"
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"{name} is in a folder that is not there.")
        if self.path.is_dir():
            raise IsADirectoryError(f"{name} is a folder, not a file.")
        if not os.access(self.path.parent, os.W_OK):
            raise PermissionError(f"{name} is in a folder that may not be written to.")
        if not self.path.exists():
            return None
        content = self.path.read_bytes()
        try:
            saved: dict[str, Any] = torch.load(
                BytesIO(content), map_location="cpu", weights_only=True
            )
            before = dict(saved["configuration"])
            clusters = saved.get("phase") == "cluster"
            missing = (_KEYS | _CLUSTER_KEYS if clusters else _KEYS) - saved.keys()
            if missing:
                raise KeyError(*missing)
        except Exception as error:  # reading something else can come to anything
            raise ValueError(
                f"{name} is not a checkpoint of a fit, or not a whole one."
            ) from error
        now = self.configuration
        if before.keys() != now.keys() or before["layout"] != now["layout"]:
            raise ValueError(
                f"{name} was written by another version of skrbf. Remove the file, or "
                "name another."
            )
        other = [each for each in sorted(now) if before[each] != now[each]]
        if other:
            raise ValueError(
                f"{name} is of a fit with other {', '.join(other)}. Fit with those of "
                "before, remove the file, or name another."
            )
        records = [Record(*record) for record in saved["records"]]
        return {**saved, "records": records}

    def write(self, training: Training, records: Sequence[Record]) -> None:
        """Replace the file; the one before stays until the new one is whole."""
        draft = self.path.with_name(self.path.name + ".part")
        whole = {
            "configuration": self.configuration,
            "records": [tuple(record) for record in records],
            **state_to_dict(training),
        }
        torch.save(whole, draft)
        try:
            draft.replace(self.path)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{str(draft)!r} has gone while the fit was at work. Fits that run at "
                "the same time, as in a search, need a checkpoint each."
            ) from error

    def remove(self) -> None:
        """Remove the file, once the fit has its result."""
        self.path.unlink(missing_ok=True)
