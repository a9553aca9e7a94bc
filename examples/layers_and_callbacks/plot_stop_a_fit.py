"""
=================================
Stopping a fit with your own rule
=================================

A fit runs until it has converged, which can take longer than it is worth. Since version
1.9, scikit-learn has callbacks: objects that see every step of a fit and can stop it by
returning True. This example writes two callbacks for rules that no parameter of an
estimator covers. The first stops when a time budget is used up, the second when a
measure of your own no longer improves.

A stopped fit has all fitted attributes and gives no warning. The callbacks that come
with scikit-learn work as well: :class:`sklearn.callback.ProgressBar` shows the progress
of a fit, and :class:`sklearn.callback.ScoringMonitor` records its scores.
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
# A time budget
# -------------
# A callback has four methods. ``setup`` and ``teardown`` are called once. The other two
# are called for the whole fit and for each of its steps; the context of the whole fit
# has no parent. The fit completes the current epoch before it stops, so it takes
# slightly longer than the budget.


class TimeBudget:
    """Stop a fit after a number of seconds."""

    def __init__(self, seconds):
        self.seconds = seconds

    def setup(self, estimator, context):
        """Start the clock before the fit."""
        self.began = time.monotonic()

    def on_fit_task_begin(self, estimator, context):
        """Do nothing before a step."""

    def on_fit_task_end(self, estimator, context):
        """Decide after a step whether to stop the fit."""
        is_step = context.parent is not None
        return is_step and time.monotonic() - self.began > self.seconds

    def teardown(self, estimator, context):
        """Do nothing after the fit; called after a failed fit as well."""


deep = DeepCenteringClustering(
    10, hidden_layer_sizes=(300,), pretrain_epochs=5, max_iter=1000, tol=0,
    random_state=0,
).set_callbacks(TimeBudget(8))  # fmt: skip
began = time.monotonic()
deep.fit(X.astype(np.float32))
print(f"{deep.n_iter_} of 1000 epochs in {time.monotonic() - began:.1f} s")

# %%
# Early stopping with your own measure
# ------------------------------------
# ``early_stopping`` of :class:`~skrbf.RBFNetClassifier` uses the accuracy on random
# held-out rows. This callback uses the log loss, which also depends on the confidence
# of the network, on rows of our choice. If a method has the argument
# ``fitted_estimator``, it receives the estimator as if the fit had stopped at this
# step.


class Patience(TimeBudget):
    """Stop a fit after a number of steps in which a measure has not fallen."""

    def __init__(self, measure, n_steps):
        self.measure, self.n_steps = measure, n_steps

    def setup(self, estimator, context):
        """Clear the values before the fit."""
        self.values = []

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        """Decide after a step whether to stop the fit."""
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
    """Compute the log loss on rows outside the training set."""
    return log_loss(y_own, model.predict_proba(X_own))


settings = {
    "alpha": 0.001, "label_smoothing": 0.0, "max_iter": 200, "tol": 0.0,
    "random_state": 0,
}  # fmt: skip
patience = Patience(own_loss, n_steps=20)
ended = RBFNetClassifier(100, **settings).set_callbacks(patience)
ended.fit(X_train, y_train)

# The same callback with infinite patience shows the rest of the fit.
watch = Patience(own_loss, n_steps=np.inf)
whole = RBFNetClassifier(100, **settings).set_callbacks(watch).fit(X_train, y_train)
for name, model in {"whole fit": whole, "ended": ended}.items():
    steps = len(model.history_["loss"])
    loss = log_loss(y_test, model.predict_proba(X_test))
    score = model.score(X_test, y_test)
    print(f"{name:9}  {steps:3} steps, test log loss {loss:.3f}, accuracy {score:.1%}")

# %%
# The upper plot shows the loss that training minimizes, the lower plot the log loss of
# our own rows. The dotted line marks where the fit was stopped. The training loss keeps
# falling, while the log loss of our own rows rises again. On the test rows, the whole
# fit has the higher log loss but not the lower accuracy. It is right about as often,
# and overconfident where it is wrong.

figure, (above, below) = plt.subplots(2, 1, figsize=(6.4, 4.8), layout="constrained")
shown = TrainingHistoryDisplay.from_estimator(whole, quantities=["loss"], ax=above)
steps = np.arange(1, len(watch.values) + 1)
below.plot(steps, watch.values, "k")
below.set(xlabel="step", ylabel="log loss of own rows", xlim=shown.axes_[0].get_xlim())
for axis in (shown.axes_[0], below):
    axis.axvline(len(patience.values), color="k", ls=":")
    axis.set_yscale("log")
plt.show()
