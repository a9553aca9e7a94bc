"""Rows held out for validation, stratified by class and by weight."""

import torch
from torch import Tensor


def hold_out(
    labels: Tensor, weight: Tensor, fraction: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Split rows into those to train on and those held out, by their positions (m,).

    Rows of each class are held out in random order, until their weight comes to the
    fraction of the weight of the class. At least one row of every class is trained on,
    so no class occurs in the validation part only. If no row is held out, it is an
    error.
    """
    held_out = torch.zeros_like(labels, dtype=torch.bool)
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        shuffled = torch.randperm(len(members), generator=generator, device="cpu")
        members = members[shuffled]
        cumulative = weight[members].double().cumsum(0)
        target = fraction * float(cumulative[-1])
        # Nearest to the fraction: half of the last row's weight decides on it.
        chosen = cumulative - 0.5 * weight[members].double() < target
        chosen[-1] = False
        held_out[members[chosen]] = True
    if not bool(held_out.any()):
        raise ValueError(
            f"validation_fraction={fraction} of {len(labels)} distinct rows leaves "
            "none for validation; raise it, or set early_stopping=False."
        )
    return (~held_out).nonzero()[:, 0], held_out.nonzero()[:, 0]
