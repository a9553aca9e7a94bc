"""
=====================================
A K-means layer inside a larger model
=====================================

A *bag of words* describes an image by how often each of a few small patterns, its
words, occurs in it. The words are commonly found by K-means and then stay as they are.
:class:`skrbf.nn.SoftAssignment` is that K-means as a layer of PyTorch. So the words can
be trained with all that is before and behind them. What does it gain?
"""

import copy

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from skrbf import SoftKMeans
from skrbf.nn import SoftAssignment

# %%
# The model
# ---------
# A convolution turns each of the 36 places of a digit into 16 features, the layer
# assigns these to words, and for each quarter of the digit the responsibilities are
# averaged: how often each word occurs there. A linear layer does the rest.


class BagOfWords(nn.Module):
    """Digits as shares of words, and classes of those."""

    def __init__(self, convolution, words):
        super().__init__()
        self.convolution, self.words = convolution, words
        self.output = nn.Linear(4 * len(words.centers), 10)

    def places(self, images):
        """Features of each place."""
        features = self.convolution(images.reshape(-1, 1, 8, 8))  # (n, 16, 6, 6)
        return features.permute(0, 2, 3, 1)  # (n, 6, 6, 16)

    def forward(self, images):
        """Logits of the classes."""
        shares = self.words(self.places(images))  # (n, 6, 6, k)
        quarters = shares.reshape(len(images), 2, 3, 2, 3, -1).mean((2, 4))
        return self.output(quarters.flatten(1))  # (n, 10)


X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
X_train, X_test, y_train, y_test = (
    torch.from_numpy(part)
    for part in train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
)

# %%
# Words by K-means
# ----------------
# The convolution starts as it comes, at random. :class:`~skrbf.SoftKMeans` finds 32
# words among the features of all places. The layer takes its centers, and a
# temperature of a tenth of the critical one: the layer learns by the rows that belong
# to several words, and at the temperature of the noise there are few.

with torch.random.fork_rng():
    torch.manual_seed(0)
    convolution = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU())
    with torch.no_grad():
        features = convolution(X_train.reshape(-1, 1, 8, 8)).permute(0, 2, 3, 1)
    found = SoftKMeans(32).fit(features.reshape(-1, 16).numpy())
    words = SoftAssignment(
        torch.from_numpy(found.cluster_centers_), 0.1 * found.critical_temperature_
    )
    start = BagOfWords(convolution, words)


def train(model, parameters, n_epochs=40):
    """Train some of the parameters, and return the accuracy after each epoch."""
    optimizer = torch.optim.Adam(parameters, lr=0.01)
    order = torch.Generator().manual_seed(0)
    curve = []
    for _ in range(n_epochs):
        for batch in torch.randperm(len(X_train), generator=order).split(64):
            loss = nn.functional.cross_entropy(model(X_train[batch]), y_train[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            right = model(X_test).argmax(1) == y_test
        curve.append(right.float().mean().item())
    return curve


# %%
# What is trained
# ---------------
# From the same start: the output alone, as in a classical bag of words; the output and
# the words; and all, the convolution too.

models = {
    name: copy.deepcopy(start) for name in ("output", "and words", "and features")
}
trained = {
    "output": models["output"].output.parameters(),
    "and words": [
        *models["and words"].output.parameters(),
        *models["and words"].words.parameters(),
    ],
    "and features": models["and features"].parameters(),
}
figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
for (name, model), style in zip(models.items(), (":", "--", "-"), strict=True):
    curve = train(model, trained[name])
    axis.plot(range(1, 41), curve, "k", ls=style, label=name)
    print(f"{name:12} {curve[-1]:.1%} of the test digits right")
axis.set(xlabel="epoch", ylabel="accuracy on the test digits", ylim=(0.89, 1))
axis.legend(title="trained", frameon=False)
plt.show()

# %%
# Training the words brings most of the gain, and the features bring a little more. The
# words are then no longer those of K-means: they are where the classes need them.
