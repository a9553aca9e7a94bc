"""Checkpoint files, from which an interrupted fit resumes."""

import os
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from skrbf.engine.deep.state import State, state_to_dict
from skrbf.engine.training.records import Record

_KEYS = ("records", "phase", "epoch", "module", "optimizer", "generator")
_CLUSTERING_KEYS = ("centers", "cluster_weights", "initial_variance")


class NoCheckpoint:
    """The checkpoint of a fit without a file."""

    saved = None

    def write(self, state: State, records: Sequence[Record]) -> None:
        """Do nothing."""

    def remove(self) -> None:
        """Do nothing."""


class Checkpoint:
    """A file that is written after every epoch and removed after the last.

    The `configuration` has fingerprints that must be equal before and after an
    interruption, by the names that an error message has for them. `saved` is the
    content of the file, None if there is no file.
    """

    def __init__(
        self, path: str | os.PathLike[str], configuration: Mapping[str, str]
    ) -> None:
        self.path = Path(path)
        layout = " ".join((*_KEYS, *_CLUSTERING_KEYS, *Record._fields))
        self.configuration = {**configuration, "layout": layout}
        self.saved = self._load()

    def _load(self) -> dict[str, Any] | None:
        """Read the file to the CPU, if there is one."""
        name = f"checkpoint={str(self.path)!r}"
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"{name} is in a folder that does not exist.")
        if self.path.is_dir():
            raise IsADirectoryError(f"{name} is a folder, not a file.")
        if not os.access(self.path.parent, os.W_OK):
            raise PermissionError(f"{name} is in a folder that may not be written to.")
        if not self.path.exists():
            return None
        content = self.path.read_bytes()
        incomplete = f"{name} is not a complete checkpoint of a fit."
        try:
            saved: dict[str, Any] = torch.load(
                BytesIO(content), map_location="cpu", weights_only=True
            )
            configuration = dict(saved["configuration"])
        except Exception as error:  # other content can raise any error
            raise ValueError(incomplete) from error
        self._compare(configuration, name)
        in_clustering = saved.get("phase") == "cluster"
        keys = {*_KEYS, *_CLUSTERING_KEYS} if in_clustering else {*_KEYS}
        if keys - saved.keys():
            raise ValueError(incomplete)
        return {**saved, "records": [Record(*record) for record in saved["records"]]}

    def _compare(self, before: Mapping[str, str], name: str) -> None:
        """Raise an error if the file is of another version or of another fit."""
        now = self.configuration
        if before.keys() != now.keys() or before["layout"] != now["layout"]:
            raise ValueError(
                f"{name} was written by another version of skrbf. Remove the file or "
                "choose another."
            )
        different = [field for field in sorted(now) if before[field] != now[field]]
        if different:
            raise ValueError(
                f"{name} is of a fit with different {', '.join(different)}. Restore "
                "the values of that fit, remove the file, or choose another."
            )

    def write(self, state: State, records: Sequence[Record]) -> None:
        """Replace the file, which stays intact until the new one is complete."""
        draft = self.path.with_name(self.path.name + ".part")
        content = {
            "configuration": self.configuration,
            "records": [tuple(record) for record in records],
            **state_to_dict(state),
        }
        torch.save(content, draft)
        try:
            draft.replace(self.path)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{str(draft)!r} disappeared during the fit. Fits that run at the same "
                "time, as in a search, need one checkpoint each."
            ) from error

    def remove(self) -> None:
        """Remove the file, once the fit has its result."""
        self.path.unlink(missing_ok=True)
