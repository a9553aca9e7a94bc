"""
=====================
When to stop a fit
=====================

A fit goes on until it has converged, which may be longer than it is worth. Since
version 1.9 scikit-learn has callbacks: objects that see every step of a fit, and end it
by returning true. Here two are written, for reasons that no parameter of an estimator
has: the time is up; or a measure of one's own gets no better.

What a callback ends is a fit like any other, with all fitted attributes and without a
warning. Those that come with scikit-learn work as well:
:class:`sklearn.callback.ProgressBar` shows a fit, and
:class:`sklearn.callback.ScoringMonitor` keeps its scores.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from skrbf import DeepCenteringClustering, RBFNetClassifier
from skrbf.plot import TrainingHistoryDisplay

X, y = load_digits(return_X_y=True)

# %%
# The time is up
# --------------
# A callback has four methods. ``setup`` and ``teardown`` are called once, the other two
# around the whole fit and around each of its steps; the whole fit is the one without a
# parent. An epoch is finished before a fit ends, so it takes a little longer than
# asked.


class TimeBudget:
    """End a fit after some seconds."""

    def __init__(self, seconds):
        self.seconds = seconds

    def setup(self, estimator, context):
        """Before the fit."""
        self.began = time.monotonic()

    def on_fit_task_begin(self, estimator, context):
        """Before a step."""

    def on_fit_task_end(self, estimator, context):
        """After a step: whether to end the fit."""
        is_step = context.parent is not None
        return is_step and time.monotonic() - self.began > self.seconds

    def teardown(self, estimator, context):
        """After the fit, also one that failed."""


deep = DeepCenteringClustering(
    10, hidden_layer_sizes=(300,), pretrain_epochs=5, max_iter=1000, tol=0,
    random_state=0,
).set_callbacks(TimeBudget(8))  # fmt: skip
began = time.monotonic()
deep.fit(X.astype(np.float32))
print(f"{deep.n_iter_} of 1000 epochs in {time.monotonic() - began:.1f} s")

# %%
# No better on rows of one's own
# ------------------------------
# ``early_stopping`` of :class:`~skrbf.RBFNetClassifier` looks at the accuracy on rows
# drawn at random. This callback looks at the log loss, which also counts how sure the
# network is, on rows of our choice. A hook that takes ``fitted_estimator`` is given the
# estimator as it would be if the fit ended there.


class Patience(TimeBudget):
    """End a fit after some steps in which a measure has not fallen."""

    def __init__(self, measure, n_steps):
        self.measure, self.n_steps = measure, n_steps

    def setup(self, estimator, context):
        """Before the fit."""
        self.values = []

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        """After a step: whether to end the fit."""
        if context.parent is None:
            return False
        self.values.append(self.measure(fitted_estimator))
        return len(self.values) - 1 - np.argmin(self.values) >= self.n_steps


X_train, X_rest, y_train, y_rest = train_test_split(
    X, y, test_size=0.7, stratify=y, random_state=0
)
X_own, X_test, y_own, y_test = train_test_split(
    X_rest, y_rest, stratify=y_rest, random_state=0
)


def own_loss(model):
    """Of rows that are not in the training."""
    return log_loss(y_own, model.predict_proba(X_own))


settings = {
    "alpha": 0.001, "label_smoothing": 0.0, "max_iter": 200, "tol": 0.0,
    "random_state": 0,
}  # fmt: skip
patience = Patience(own_loss, n_steps=20)
ended = RBFNetClassifier(100, **settings).set_callbacks(patience)
ended.fit(X_train, y_train)

# The same callback with a patience that never ends, to see what was spared.
watch = Patience(own_loss, n_steps=np.inf)
whole = RBFNetClassifier(100, **settings).set_callbacks(watch).fit(X_train, y_train)
for name, model in {"whole fit": whole, "ended": ended}.items():
    steps = len(model.history_["loss"])
    loss = log_loss(y_test, model.predict_proba(X_test))
    score = model.score(X_test, y_test)
    print(f"{name:9}  {steps:3} steps, test log loss {loss:.3f}, accuracy {score:.1%}")

# %%
# Above what the training lowers, below what we look at. The fit was ended at the dotted
# line. The loss falls on and on, while that of our own rows rises again. On the test
# rows the whole fit has the higher log loss, though not the lower accuracy: it is
# right about as often, and too sure where it is wrong.

figure, (above, below) = plt.subplots(2, 1, figsize=(6.4, 4.8), layout="constrained")
shown = TrainingHistoryDisplay.from_estimator(whole, quantities=["loss"], ax=above)
steps = np.arange(1, len(watch.values) + 1)
below.plot(steps, watch.values, "k")
below.set(xlabel="step", ylabel="log loss of own rows", xlim=shown.axes_[0].get_xlim())
for axis in (shown.axes_[0], below):
    axis.axvline(len(patience.values), color="k", ls=":")
    axis.set_yscale("log")
plt.show()
