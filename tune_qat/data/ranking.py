"""The rule by which a classification is right, the same in training, validation and test.

A sample is right among the best k if fewer than k classes are ahead of its label. A class is ahead if its logit is
larger, or equal with a lower number, as `argmax` takes the first of equal ones: a network whose logits are all equal
answers class 0, whatever the device, and has the accuracy of always answering it. (torch's `topk` leaves open which of
equal ones it takes.) A NaN is ahead of every number, and a label whose own logit is NaN behind all: it is never right.
"""

import torch


def places(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return how many classes are ahead of each label: int64 of shape (n,), for logits of shape (n, classes).

    0 is the answer, and the number of classes is that of a NaN.
    """
    own = logits.gather(1, labels[:, None])
    first_of_equals = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    return (~(logits <= own) | ((logits == own) & first_of_equals)).sum(1)


def is_right(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return whether each label is in place 0: bool of shape (n,). In a third of the time of `places`."""
    largest, answers = logits.max(1)  # of equal ones the first, and a NaN before any number, as torch documents
    return (answers == labels) & (largest == largest)
