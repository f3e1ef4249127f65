"""Every model of the table against `ModelConformance`."""

from tests.conformance.models import ModelConformance, images, pairs
from tune_qat.models import MODELS


class TestEspcn(ModelConformance):
    name = "espcn"
    smallest = pairs(1, 3)
    # Shi et al. at x3 on luma; on colour with every scale, counted by hand from the layer sizes.
    parameters = [(pairs(1, 3), 22_729), (pairs(3, 2), 26_796), (pairs(3, 3), 31_131), (pairs(3, 4), 37_200)]
    layers = ["conv1", "conv3"]
    does_not_fit = [(images(1, 28, 10), "'espcn' is made for super-resolution, but the input is for classification")]


class TestLenet5(ModelConformance):
    name = "lenet5"
    smallest = images(1, 28, 10)
    parameters = [(images(1, 28, 10), 61_706), (images(1, 32, 10), 61_706), (images(3, 32, 10), 62_006)]
    layers = ["conv1", "fc3"]
    does_not_fit = [
        (images(1, 27, 10), "28 x 28 or 32 x 32, but got 27 x 27"),
        (pairs(1, 3), "'lenet5' is made for classification, but the input is for super-resolution"),
    ]


class TestLenet5Bn(ModelConformance):
    name = "lenet5_bn"
    smallest = images(1, 28, 10)
    # LeNet-5's, and two for each of 6 + 16 + 120 + 84 channels.
    parameters = [(images(1, 28, 10), 61_706 + 452)]
    layers = ["conv1", "fc3"]
    does_not_fit = [(images(1, 27, 10), "'lenet5_bn' takes images of 28 x 28 or 32 x 32, but got 27 x 27")]


class TestLenet5Xnor(ModelConformance):
    name = "lenet5_xnor"
    smallest = images(1, 28, 10)
    parameters = [(images(1, 28, 10), 61_706 + 452)]
    layers = ["conv1", "fc3"]
    does_not_fit = [(images(1, 27, 10), "'lenet5_xnor' takes images of 28 x 28 or 32 x 32, but got 27 x 27")]


class TestResnet18(ModelConformance):
    name = "resnet18"
    smallest = images(3, 32, 10)
    # torchvision's count at 1,000 classes; the classifier has 513 a class, the stem 3,136 a channel.
    parameters = [(images(3, 32, 1000), 11_689_512), (images(1, 32, 10), 11_689_512 - 990 * 513 - 2 * 3_136)]
    layers = ["conv1", "fc"]
    does_not_fit = [
        (images(3, 31, 10), "at least 32 x 32, but got 31 x 31"),
        (pairs(3, 2), "'resnet18' is made for classification, but the input is for super-resolution"),
    ]


def test_every_model_has_its_conformance_class() -> None:
    assert {subclass.name for subclass in ModelConformance.__subclasses__()} == set(MODELS)
