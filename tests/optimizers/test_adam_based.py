"""What LAMB and MARS share: steps counted by parameter, and no going on from a state of the library's."""

from typing import Any

import pytest
import torch
from torch import nn

from tests.optimizers.trajectories import of_table

RATE = 0.01


def groups_of(*points: nn.Parameter) -> list[dict[str, Any]]:
    return [{"params": list(points), "weight_decay": 0.0, "lr": RATE, "matrices": False}]


@pytest.mark.parametrize("name", ["lamb", "mars"])
def test_moments_are_corrected_for_a_parameters_own_first_step(name: str) -> None:
    early, late = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizer = of_table(name, RATE)(groups_of(early, late))
    early.grad = torch.ones(3)
    optimizer.step()
    assert torch.equal(late, torch.ones(3)) and not torch.equal(early, torch.ones(3))
    early.grad, late.grad = torch.ones(3), torch.full((3,), 2.0)
    optimizer.step()
    torch.testing.assert_close(late.detach(), torch.full((3,), 1 - RATE), rtol=1e-6, atol=0)  # float32, an eps of 1e-6


@pytest.mark.parametrize(("name", "library"), [("lamb", "Lamb"), ("mars", "MARS")])
def test_a_state_of_the_librarys_is_refused(name: str, library: str) -> None:
    import pytorch_optimizer

    points = [nn.Parameter(torch.ones(3)) for _ in range(2)]
    before = getattr(pytorch_optimizer, library)([points[0]], lr=RATE)
    points[0].grad = torch.ones(3)
    before.step()
    after = of_table(name, RATE)(groups_of(points[1]))
    with pytest.raises(ValueError, match="of an earlier version"):
        after.load_state_dict(before.state_dict())
