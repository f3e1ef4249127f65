"""Every optimizer of the table against `OptimizerConformance`."""

import importlib
from collections.abc import Callable

import pytest
import torch

from tests.conformance.optimizers import OptimizerConformance, Problem
from tune_qat.config import TrialConfig, UsageError
from tune_qat.optimizers import OPTIMIZERS, get_spec


def from_library(module: str, name: str) -> Callable[[], type[torch.optim.Optimizer]]:
    """The class, imported when a test asks for it."""

    def found() -> type[torch.optim.Optimizer]:
        library: type[torch.optim.Optimizer] = getattr(importlib.import_module(module), name)
        return library

    return found


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
    library = staticmethod(from_library("timm.optim.lion", "Lion"))
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


class TestNAdam(OptimizerConformance):
    name = "nadam"
    library = staticmethod(lambda: torch.optim.NAdam)
    learning_rates = (1e-4, 1e-2)


class TestRAdam(OptimizerConformance):
    name = "radam"
    library = staticmethod(lambda: torch.optim.RAdam)
    learning_rates = (1e-4, 1e-2)


class TestLAMB(OptimizerConformance):
    name = "lamb"
    library = staticmethod(from_library("pytorch_optimizer", "Lamb"))
    built = staticmethod(from_library("tune_qat.optimizers.lamb", "Lamb"))
    learning_rates = (1e-4, 1e-2)


class TestAdan(OptimizerConformance):
    name = "adan"
    library = staticmethod(from_library("pytorch_optimizer", "Adan"))
    learning_rates = (1e-4, 1e-2)


class TestAdEMAMix(OptimizerConformance):
    name = "ademamix"
    library = staticmethod(from_library("pytorch_optimizer", "AdEMAMix"))
    learning_rates = (1e-4, 1e-2)


class TestADOPT(OptimizerConformance):
    name = "adopt"
    library = staticmethod(from_library("pytorch_optimizer", "ADOPT"))
    learning_rates = (1e-4, 1e-2)
    idle_steps = 1


class TestMARS(OptimizerConformance):
    name = "mars"
    library = staticmethod(from_library("pytorch_optimizer", "MARS"))
    built = staticmethod(from_library("tune_qat.optimizers.mars", "Mars"))
    learning_rates = (1e-4, 1e-2)


class TestSOAP(OptimizerConformance):
    name = "soap"
    library = staticmethod(from_library("pytorch_optimizer", "SOAP"))
    learning_rates = (1e-4, 1e-2)
    idle_steps = 1


class TestMuon(OptimizerConformance):
    name = "muon"
    library = staticmethod(from_library("timm.optim.muon", "Muon"))
    learning_rates = (1e-3, 1e-1)
    own_options = {"adamw_lr_ratio": 0.015}
    not_in_groups = ("adamw_lr_ratio",)

    def ratios(self) -> tuple[float, ...]:
        return (1, 0.015, 0.015, 0.5 * 0.015)


class TestProdigy(OptimizerConformance):
    name = "prodigy"
    library = staticmethod(from_library("prodigyopt", "Prodigy"))
    rolls_on = True
    multiplier = 1.0

    def test_range_of_learning_rates_is_the_published_one(self) -> None:
        assert get_spec("prodigy").learning_rate is None

    def test_multiplier_scales_the_step_of_the_quantizers_alone(self) -> None:
        with pytest.raises(UsageError, match="one rate for all parameters, so quantizer_lr_multiplier must be 1"):
            Problem(self.config(quantizer_lr_multiplier=0.25))

    def hardest(self) -> TrialConfig:
        return self.config(optimizer_options={"d_coef": 10.0})


class TestScheduleFreeSGD(OptimizerConformance):
    name = "schedule_free_sgd"
    library = staticmethod(from_library("schedulefree", "SGDScheduleFree"))
    rolls_on = True
    bowl_rate = 0.1  # its documented default, 1, is far above 2 over the curvature
    learning_rates = (0.1, 10.0)


class TestScheduleFreeAdamW(OptimizerConformance):
    name = "schedule_free_adamw"
    library = staticmethod(from_library("schedulefree", "AdamWScheduleFree"))
    learning_rates = (1e-4, 1e-2)


def test_every_optimizer_has_its_conformance_class() -> None:
    assert {subclass.name for subclass in OptimizerConformance.__subclasses__()} == set(OPTIMIZERS)


def test_an_unknown_name_gets_the_valid_ones() -> None:
    with pytest.raises(UsageError, match=r"'adamm'. Did you mean 'adam'\? Known: adam, adamw, rmsprop"):
        get_spec("adamm")
