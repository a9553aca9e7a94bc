"""
=====================================
A K-means layer inside a larger model
=====================================

A *bag of words* describes an image by the frequencies of a few small patterns, its
words. The words are usually found by K-means and then fixed.
:class:`skrbf.nn.SoftAssignment` is soft K-means as a PyTorch layer, so the words can be
trained together with the layers before and after them. This example measures the gain.
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
# A convolution computes 16 features at each of the 36 positions of a digit. The layer
# assigns these features to words. The responsibilities are averaged over each quarter
# of the digit, which gives the frequency of each word there. A linear layer classifies
# the frequencies.


class BagOfWords(nn.Module):
    """A bag of words with a linear classifier."""

    def __init__(self, convolution, words):
        super().__init__()
        self.convolution, self.words = convolution, words
        self.output = nn.Linear(4 * len(words.centers), 10)

    def places(self, images):
        """Compute the features at each position."""
        features = self.convolution(images.reshape(-1, 1, 8, 8))  # (n, 16, 6, 6)
        return features.permute(0, 2, 3, 1)  # (n, 6, 6, 16)

    def forward(self, images):
        """Compute the logits of the classes."""
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
# The convolution starts with random weights. :class:`~skrbf.SoftKMeans` finds 32 words
# among the features of all positions. The layer starts with these centers. Its
# temperature is a tenth of the critical temperature: the layer learns from features
# that belong to several words, and at the temperature of the noise there are few such
# features.

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
# Training
# --------
# Three models start from the same weights. The first trains the output only, as in a
# classical bag of words. The second trains the output and the words. The third trains
# everything, including the convolution.

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
# Training the words gives most of the gain, and training the features adds a little.
# The trained words differ from those of K-means, because they separate the classes.
