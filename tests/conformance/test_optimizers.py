"""Every optimizer of the table against `OptimizerConformance`."""

import pytest
import torch

from tests.conformance.optimizers import OptimizerConformance
from tune_qat.config import UsageError
from tune_qat.optimizers import OPTIMIZERS, get_spec


def timm_lion() -> type[torch.optim.Optimizer]:
    from timm.optim.lion import Lion

    lion: type[torch.optim.Optimizer] = Lion
    return lion


class TestAdam(OptimizerConformance):
    name = "adam"
    library = staticmethod(lambda: torch.optim.Adam)
    learning_rates = (1e-5, 1e-1)


class TestAdamW(OptimizerConformance):
    name = "adamw"
    library = staticmethod(lambda: torch.optim.AdamW)
    learning_rates = (1e-5, 1e-1)


class TestRMSProp(OptimizerConformance):
    name = "rmsprop"
    library = staticmethod(lambda: torch.optim.RMSprop)
    learning_rates = (1e-6, 1e-2)


class TestAdaGrad(OptimizerConformance):
    name = "adagrad"
    library = staticmethod(lambda: torch.optim.Adagrad)
    learning_rates = (1e-4, 1.0)


class TestAdadelta(OptimizerConformance):
    name = "adadelta"
    library = staticmethod(lambda: torch.optim.Adadelta)
    learning_rates = (1e-3, 1e1)


class TestSGD(OptimizerConformance):
    name = "sgd"
    library = staticmethod(lambda: torch.optim.SGD)
    learning_rates = (1e-4, 1.0)


class TestSGDMomentum(OptimizerConformance):
    name = "sgd_momentum"
    library = staticmethod(lambda: torch.optim.SGD)
    learning_rates = (1e-4, 1.0)
    own_options = {"momentum": 0.9}
    rolls_on = True


class TestNesterov(OptimizerConformance):
    name = "nesterov"
    library = staticmethod(lambda: torch.optim.SGD)
    learning_rates = (1e-4, 1.0)
    own_options = {"momentum": 0.9}


class TestLion(OptimizerConformance):
    name = "lion"
    library = staticmethod(timm_lion)
    learning_rates = (1e-7, 1e-3)


class TestSGDClip(OptimizerConformance):
    name = "sgd_clip"
    library = staticmethod(lambda: torch.optim.SGD)
    learning_rates = (1e-4, 1.0)
    own_options = {"max_norm": 1.0}


class TestSGDAGC(OptimizerConformance):
    name = "sgd_agc"
    library = staticmethod(lambda: torch.optim.SGD)
    learning_rates = (1e-4, 1.0)
    own_options = {"clip_factor": 0.01}


def test_every_optimizer_has_its_conformance_class() -> None:
    assert {subclass.name for subclass in OptimizerConformance.__subclasses__()} == set(OPTIMIZERS)


def test_an_unknown_name_gets_the_valid_ones() -> None:
    with pytest.raises(UsageError, match=r"'adma'. Did you mean 'adam'\? Known: adam, adamw, rmsprop"):
        get_spec("adma")
