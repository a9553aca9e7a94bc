"""Rows held out for validation, stratified by class and by weight."""

import torch
from torch import Tensor


def hold_out(
    labels: Tensor, weight: Tensor, fraction: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Numbers of the rows to train on and of those held out.

    Of each class, rows in random order are held out until their weight comes to the
    fraction of that of the class. At least one row of every class is trained on, so no
    class is seen in the validation part only.

    Parameters
    ----------
    labels : Tensor of shape (n,), int64
    weight : Tensor of shape (n,)
    fraction : float
    generator : torch.Generator
        Of the CPU.

    Raises
    ------
    ValueError
        If no row is held out.
    """
    out = torch.zeros_like(labels, dtype=torch.bool)
    for label in labels.unique():
        own = (labels == label).nonzero()[:, 0]
        own = own[torch.randperm(len(own), generator=generator, device="cpu")]
        reached = weight[own].double().cumsum(0)
        wanted = fraction * float(reached[-1])
        # Nearest to the fraction: half of the last row's weight decides on it.
        held = reached - 0.5 * weight[own].double() < wanted
        held[-1] = False
        out[own[held]] = True
    if not bool(out.any()):
        raise ValueError(
            f"validation_fraction={fraction} of {len(labels)} distinct rows leaves "
            "none for validation; raise it, or set early_stopping=False."
        )
    return (~out).nonzero()[:, 0], out.nonzero()[:, 0]
