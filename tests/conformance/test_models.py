"""Every model of the table against `ModelConformance`. Sizes are those that the specification's libraries give."""

from tests.conformance.models import (
    LargeModelConformance,
    ModelAtTwoBitsConformance,
    ModelConformance,
    ModelSizeConformance,
    images,
    pairs,
)
from tune_qat.models import MODELS


class TestEspcn(ModelAtTwoBitsConformance):
    name = "espcn"
    smallest = pairs(1, 3)
    # Shi et al. at x3 on luma; on colour with every scale, counted by hand from the layer sizes.
    parameters = [(pairs(1, 3), 22_729), (pairs(3, 2), 26_796), (pairs(3, 3), 31_131), (pairs(3, 4), 37_200)]
    layers = ["conv1", "conv3"]


class TestLenet5(ModelConformance):
    name = "lenet5"
    smallest = images(1, 28, 10)
    parameters = [(images(1, 28, 10), 61_706), (images(1, 32, 10), 61_706), (images(3, 32, 10), 62_006)]
    layers = ["conv1", "fc3"]
    does_not_fit = [(images(1, 27, 10), "'lenet5' takes images of 28 x 28 or 32 x 32, but got 27 x 27")]


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


class TestResnet34(ModelSizeConformance):
    name = "resnet34"
    smallest = images(3, 32, 10)
    parameters = [(images(3, 224, 1000), 21_797_672)]
    layers = ["conv1", "fc"]


class TestResnet50(LargeModelConformance):
    name = "resnet50"
    smallest = images(3, 32, 10)
    parameters = [(images(3, 224, 1000), 25_557_032)]
    layers = ["conv1", "fc"]


class TestResnet101(ModelSizeConformance):
    name = "resnet101"
    smallest = images(3, 32, 10)
    parameters = [(images(3, 224, 1000), 44_549_160)]
    layers = ["conv1", "fc"]


class TestResnet152(ModelSizeConformance):
    name = "resnet152"
    smallest = images(3, 32, 10)
    parameters = [(images(3, 224, 1000), 60_192_808)]
    layers = ["conv1", "fc"]


class TestPreresnet18(LargeModelConformance):
    name = "preresnet18"
    smallest = images(3, 32, 10)
    parameters = [(images(3, 224, 1000), 11_687_848), (images(1, 32, 10), 11_687_848 - 990 * 513 - 2 * 3_136)]
    layers = ["features.init_block.conv", "output"]


class TestPreresnet34(ModelSizeConformance):
    name = "preresnet34"
    smallest = images(3, 32, 10)
    parameters = [(images(3, 224, 1000), 21_796_008)]
    layers = ["features.init_block.conv", "output"]


class TestPreresnet50(LargeModelConformance):
    name = "preresnet50"
    smallest = images(3, 32, 10)
    parameters = [(images(3, 224, 1000), 25_549_480)]
    layers = ["features.init_block.conv", "output"]


class TestPreresnet101(ModelSizeConformance):
    name = "preresnet101"
    smallest = images(3, 32, 10)
    parameters = [(images(3, 224, 1000), 44_541_608)]
    layers = ["features.init_block.conv", "output"]


class TestPreresnet152(ModelSizeConformance):
    name = "preresnet152"
    smallest = images(3, 32, 10)
    parameters = [(images(3, 224, 1000), 60_185_256)]
    layers = ["features.init_block.conv", "output"]


class TestResnet18Xnor(LargeModelConformance):
    name = "resnet18_xnor"
    smallest = images(3, 32, 10)
    parameters = [(images(3, 224, 1000), 11_687_848)]
    layers = ["features.init_block.conv", "output"]


class TestResnet20Cifar(ModelAtTwoBitsConformance):
    name = "resnet20_cifar"
    smallest = images(3, 4, 10)
    # pytorchcv's resnet20_cifar10; 65 a class, 144 a channel of the images.
    parameters = [(images(3, 32, 10), 272_474), (images(1, 28, 100), 272_474 + 90 * 65 - 2 * 144)]
    layers = ["features.init_block.conv", "output"]


class TestResnet50Cifar(ModelConformance):
    name = "resnet50_cifar"
    smallest = images(3, 4, 10)
    parameters = [(images(3, 32, 10), 758_554)]
    layers = ["features.init_block.conv", "output"]


class TestResnet20Xnor(ModelConformance):
    name = "resnet20_xnor"
    smallest = images(3, 4, 10)
    parameters = [(images(3, 32, 10), 272_282)]  # pytorchcv's preresnet20_cifar10
    layers = ["features.init_block", "output"]


class TestResnet50Xnor(ModelConformance):
    name = "resnet50_xnor"
    smallest = images(3, 4, 10)
    # As between the two of 20: no norm of 16 channels, and shortcuts without norms of 32 and 64, at the end one of 64.
    parameters = [(images(3, 32, 10), 758_554 - 192)]
    layers = ["features.init_block", "output"]


class TestVgg16(ModelSizeConformance):
    name = "vgg16"
    smallest = images(3, 32, 10)
    parameters = [(images(3, 224, 1000), 138_357_544), (images(1, 32, 10), 138_357_544 - 990 * 4_097 - 2 * 576)]
    layers = ["features.0", "classifier.6"]


class TestVgg16Bn(ModelSizeConformance):
    # Its features are those of vgg16_cifar, its classifier is AlexNet's.
    name = "vgg16_bn"
    smallest = images(3, 32, 10)
    parameters = [(images(3, 224, 1000), 138_365_992)]
    layers = ["features.0", "classifier.6"]


class TestVgg16Cifar(ModelConformance):
    name = "vgg16_cifar"
    smallest = images(3, 32, 10)
    # torchvision's VGG-16 with norms, and a classifier of 512 x 10 for its own.
    parameters = [(images(3, 32, 10), 138_365_992 - 123_642_856 + 5_130), (images(1, 32, 100), 14_773_284)]
    layers = ["features.0", "classifier"]


class TestVgg16Xnor(LargeModelConformance):
    name = "vgg16_xnor"
    smallest = images(3, 32, 10)
    parameters = [(images(3, 32, 10), 14_728_266)]
    layers = ["features.0", "classifier"]


class TestAlexnet(LargeModelConformance):
    name = "alexnet"
    smallest = images(3, 63, 10)
    parameters = [(images(3, 224, 1000), 61_100_840), (images(1, 63, 10), 61_100_840 - 990 * 4_097 - 2 * 7_744)]
    layers = ["features.0", "classifier.6"]


class TestAlexnetBn(ModelSizeConformance):
    # Its layers are those of alexnet_xnor, in another order.
    name = "alexnet_bn"
    smallest = images(3, 63, 10)
    # Two for each of 64 + 192 + 384 + 256 + 256 channels and of twice 4,096 features.
    parameters = [(images(3, 224, 1000), 61_100_840 + 2 * (1_152 + 8_192))]
    layers = ["features.0", "classifier.6"]


class TestAlexnetXnor(LargeModelConformance):
    name = "alexnet_xnor"
    smallest = images(3, 63, 10)
    parameters = [(images(3, 224, 1000), 61_119_528)]
    layers = ["features.0", "classifier.6"]
    slow = True


class TestSqueezenext(ModelConformance):
    name = "squeezenext23_2x"
    smallest = images(3, 32, 10)
    parameters = [(images(3, 224, 1000), 2_583_752)]
    layers = ["features.init_block.conv.conv", "output"]


class TestMobilenetV2(ModelConformance):
    name = "mobilenet_v2"
    smallest = images(3, 32, 10)
    parameters = [(images(3, 224, 1000), 3_504_872), (images(1, 32, 10), 3_504_872 - 990 * 1_281 - 2 * 288)]
    layers = ["features.0.0", "classifier.1"]


class TestMobilenetV3Small(ModelAtTwoBitsConformance):
    name = "mobilenet_v3_small"
    smallest = images(3, 32, 10)
    parameters = [(images(3, 224, 1000), 2_542_856)]
    layers = ["features.0.0", "classifier.3"]
    gates = 9


class TestMobilenetV3Large(LargeModelConformance):
    name = "mobilenet_v3_large"
    smallest = images(3, 32, 10)
    parameters = [(images(3, 224, 1000), 5_483_032)]
    layers = ["features.0.0", "classifier.3"]
    gates = 8


class TestEfficientnetB0(ModelConformance):
    name = "efficientnet_b0"
    smallest = images(3, 32, 10)
    parameters = [(images(3, 224, 1000), 5_288_548), (images(1, 32, 10), 5_288_548 - 990 * 1_281 - 2 * 288)]
    layers = ["conv_stem", "classifier"]
    gates = 16


class TestEfficientnetLite0(ModelConformance):
    name = "efficientnet_lite0"
    smallest = images(3, 32, 10)
    parameters = [(images(3, 224, 1000), 4_652_008)]
    layers = ["conv_stem", "classifier"]


class TestMixnetS(ModelConformance):
    name = "mixnet_s"
    smallest = images(3, 32, 10)
    parameters = [(images(3, 224, 1000), 4_134_606)]
    layers = ["conv_stem", "classifier"]
    gates = 13


def test_every_model_has_its_conformance_class() -> None:
    kinds = (ModelSizeConformance, ModelConformance, LargeModelConformance, ModelAtTwoBitsConformance)
    classes = {each for kind in kinds for each in kind.__subclasses__()}
    assert {each.name for each in classes - set(kinds)} == set(MODELS)
