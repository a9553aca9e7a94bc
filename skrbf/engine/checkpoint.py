"""A training on disk, from which the same fit can go on."""

import json
import os
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skrbf.engine.deep_data import DeepData
from skrbf.engine.deep_state import Training
from skrbf.engine.records import Record
from skrbf.ops.keys import row_keys


def fingerprints(data: DeepData) -> dict[str, str]:
    """Texts that differ where the rows do, and where their weights do."""
    both = {"X": data.rows, "sample_weight": data.weight[:, None]}
    return {name: _fingerprint(table.cpu()) for name, table in both.items()}


def _fingerprint(table: Tensor) -> str:
    keys = row_keys(table)  # (m,)
    place = torch.arange(1, len(keys) + 1, device=keys.device)
    return f"{tuple(table.shape)} {int((keys * place).sum()):x}"


_KEYS = {"records", "phase", "epoch", "began"}
_KEYS |= {"module", "optimizer", "generator"}
_CLUSTER_KEYS = {"centers", "mass"}


class NoCheckpoint:
    """Where none was asked for."""

    saved = None

    def write(self, training: Training, records: Sequence[Record]) -> None:
        """Nothing."""

    def remove(self) -> None:
        """Nothing."""


class Checkpoint:
    """A file that is written after every epoch and removed after the last.

    Parameters
    ----------
    path : str or path-like
    configuration : mapping of str to str
        What the fits before and after an interruption must have in common.

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
        """What was saved, on the CPU; None where there is no file."""
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
            before = json.loads(saved["configuration"])
            clusters = saved.get("phase") == "cluster"
            missing = (_KEYS | _CLUSTER_KEYS if clusters else _KEYS) - saved.keys()
            if missing:
                raise KeyError(*missing)
        except Exception as error:  # reading something else can come to anything
            raise ValueError(
                f"{name} is not a checkpoint of a fit, or not a whole one."
            ) from error
        now = self.configuration
        names = sorted({*before, *now})
        other = [each for each in names if before.get(each) != now.get(each)]
        if other == ["layout"]:
            raise ValueError(
                f"{name} was written by another version of skrbf. Remove the file, or "
                "name another."
            )
        if other:
            raise ValueError(
                f"{name} is of a fit with other {', '.join(other)}. Fit with those of "
                "before, remove the file, or name another."
            )
        return saved

    def write(self, training: Training, records: Sequence[Record]) -> None:
        """Replace the file; the one before stays until the new one is whole."""
        draft = self.path.with_name(self.path.name + ".part")
        whole = {
            "configuration": json.dumps(self.configuration),
            "records": [tuple(record) for record in records],
            **frozen(training),
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


def frozen(training: Training) -> dict[str, Any]:
    """All that a training needs to go on later, as tensors, numbers and text."""
    report = training.report
    assert report is not None
    state: dict[str, Any] = {
        "phase": report.phase,
        "epoch": training.epoch,
        "began": training.began,
        "module": training.module.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "generator": training.generator.get_state(),
    }
    if training.clusters is not None:
        state["centers"] = training.clusters.centers
        state["mass"] = training.clusters.mass
    return state
