"""Records of a fit: the log of its steps, the hook that sees them, and its result."""

import math
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

State = TypeVar("State")


class Record(NamedTuple):
    """One step of a fit, as `history_`, callbacks and verbose output see it.

    A step fills in what its fit measures; the rest is NaN.
    """

    phase: str
    loss: float = math.nan
    validation_score: float = math.nan
    objective: float = math.nan
    n_clusters: float = math.nan
    reconstruction_loss: float = math.nan
    clustering_loss: float = math.nan
    scale_penalty: float = math.nan
    label_change: float = math.nan  # fraction of the weight
    center_shift: float = math.nan  # root mean square, in deviations of the codes
    code_variance: float = math.nan
    largest_cluster: float = math.nan  # fraction of the weight
    temperature: float = math.nan
    learning_rate: float = math.nan
    seconds: float = math.nan


class Descent(NamedTuple, Generic[State]):
    """Result of a loop that lowers an objective."""

    state: State
    objective: float
    n_iter: int
    converged: bool  # or stopped
    stopped: bool = False  # by the hook


# Called after every step. A true answer ends the fit where it stands, and every later
# answer is true as well.
OnStep = Callable[[Record, State], bool]


def never_stop(record: Record, state: object) -> bool:
    """Let every step pass: the hook of a fit without observers."""
    return False
