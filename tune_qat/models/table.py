"""The table of models. To add one: a builder, and a line here. Free of torch."""

from tune_qat.config.lookup import Table
from tune_qat.data.spec import CLASSIFICATION, SUPER_RESOLUTION
from tune_qat.models.spec import ModelSpec, at_1000, classifier

_RESNET = "He et al., CVPR 2016, arXiv 1512.03385"
_VGG = "Simonyan and Zisserman, ICLR 2015, arXiv 1409.1556"
_ALEXNET = "Krizhevsky, 2014, arXiv 1404.5997"
_XNOR = "order of Rastegari et al., ECCV 2016, arXiv 1603.05279"

_SPECS = (
    ModelSpec(
        name="espcn",
        task=SUPER_RESOLUTION,
        summary="ESPCN, three convolutions and a pixel shuffle, tanh (22,729 parameters at x3)",
        build="tune_qat.models.espcn:build",
        source="Shi et al., CVPR 2016, arXiv 1609.05158",
    ),
    ModelSpec(
        name="lenet5",
        task=CLASSIFICATION,
        summary="LeNet-5, ReLU and max pooling (61,706 parameters on 28 x 28 grey images, 10 classes)",
        build="tune_qat.models.lenet5:build",
        source="LeCun et al., Proceedings of the IEEE, 1998",
    ),
    ModelSpec(
        name="lenet5_bn",
        task=CLASSIFICATION,
        summary="LeNet-5 with batch norm ahead of each ReLU (62,158 parameters)",
        build="tune_qat.models.lenet5:build_bn",
        source="LeCun et al., Proceedings of the IEEE, 1998",
    ),
    ModelSpec(
        name="lenet5_xnor",
        task=CLASSIFICATION,
        summary="LeNet-5 with batch norm behind each ReLU, for binary inputs (62,158 parameters)",
        build="tune_qat.models.lenet5:build_xnor",
        source="LeCun et al., 1998; order of Rastegari et al., ECCV 2016, arXiv 1603.05279",
    ),
    *(
        classifier(
            f"resnet{depth}",
            at_1000(f"ResNet-{depth}, post-activation, ImageNet stem", parameters),
            f"resnet:build_resnet{depth}",
            32,
            f"{_RESNET}; torchvision",
        )
        for depth, parameters in (
            (18, "11,689,512"),
            (34, "21,797,672"),
            (50, "25,557,032"),
            (101, "44,549,160"),
            (152, "60,192,808"),
        )
    ),
    *(
        classifier(
            f"preresnet{depth}",
            at_1000(f"ResNet-{depth}, pre-activation, ImageNet stem", parameters),
            f"preresnet:build_preresnet{depth}",
            32,
            "He et al., ECCV 2016, arXiv 1603.05027; pytorchcv",
        )
        for depth, parameters in (
            (18, "11,687,848"),
            (34, "21,796,008"),
            (50, "25,549,480"),
            (101, "44,541,608"),
            (152, "60,185,256"),
        )
    ),
    classifier(
        "resnet18_xnor",
        at_1000("pre-activation ResNet-18 with ReLU ahead of batch norm, for binary inputs", "11,687,848"),
        "preresnet:build_resnet18_xnor",
        32,
        f"pytorchcv; {_XNOR}",
    ),
    *(
        classifier(
            f"resnet{depth}_cifar",
            f"ResNet-{depth} for small images, {depth // 6} blocks of two layers at 16, 32 and 64 channels "
            f"({parameters} parameters at 10 classes)",
            f"resnet_cifar:build_resnet{depth}",
            4,
            f"{_RESNET}, section 4.2; pytorchcv",
        )
        for depth, parameters in ((20, "272,474"), (50, "758,554"))
    ),
    *(
        classifier(
            f"resnet{depth}_xnor",
            f"pre-activation ResNet-{depth} for small images with ReLU ahead of batch norm, for binary inputs "
            f"({parameters} parameters at 10 classes)",
            f"resnet_cifar:build_resnet{depth}_xnor",
            4,
            f"pytorchcv; {_XNOR}",
        )
        for depth, parameters in ((20, "272,282"), (50, "758,362"))
    ),
    classifier("vgg16", at_1000("VGG-16", "138,357,544"), "vgg:build_vgg16", 32, f"{_VGG}; torchvision"),
    classifier(
        "vgg16_bn",
        at_1000("VGG-16 with batch norm", "138,365,992"),
        "vgg:build_vgg16_bn",
        32,
        f"{_VGG}; torchvision",
    ),
    classifier(
        "vgg16_cifar",
        "VGG-16 for small images, batch norm and one linear layer (14,728,266 parameters at 10 classes)",
        "vgg:build_vgg16_cifar",
        32,
        f"{_VGG}; torchvision",
    ),
    classifier(
        "vgg16_xnor",
        "vgg16_cifar with batch norm behind each ReLU, for binary inputs (14,728,266 parameters at 10 classes)",
        "vgg:build_vgg16_xnor",
        32,
        f"{_VGG}; torchvision; {_XNOR}",
    ),
    classifier("alexnet", at_1000("AlexNet", "61,100,840"), "alexnet:build", 63, f"{_ALEXNET}; torchvision"),
    classifier(
        "alexnet_bn",
        at_1000("AlexNet with batch norm and without dropout", "61,119,528"),
        "alexnet:build_bn",
        63,
        f"{_ALEXNET}; torchvision; norms of Zhou et al., 2016, arXiv 1606.06160",
    ),
    classifier(
        "alexnet_xnor",
        at_1000("alexnet_bn with batch norm behind each ReLU, for binary inputs", "61,119,528"),
        "alexnet:build_xnor",
        63,
        f"{_ALEXNET}; torchvision; {_XNOR}",
    ),
    classifier(
        "squeezenext23_2x",
        at_1000("SqueezeNext-23 of twice the width", "2,583,752"),
        "squeezenext:build_23_2x",
        32,
        "Gholami et al., CVPR Workshops 2018, arXiv 1803.10615; pytorchcv",
    ),
    classifier(
        "mobilenet_v2",
        at_1000("MobileNetV2", "3,504,872"),
        "mobilenet:build_v2",
        32,
        "Sandler et al., CVPR 2018, arXiv 1801.04381; torchvision",
    ),
    *(
        classifier(
            f"mobilenet_v3_{size}",
            at_1000(f"MobileNetV3, {size}", parameters),
            f"mobilenet:build_v3_{size}",
            32,
            "Howard et al., ICCV 2019, arXiv 1905.02244; torchvision",
        )
        for size, parameters in (("small", "2,542,856"), ("large", "5,483,032"))
    ),
    classifier(
        "efficientnet_b0",
        at_1000("EfficientNet-B0", "5,288,548"),
        "efficientnet:build_b0",
        32,
        "Tan and Le, ICML 2019, arXiv 1905.11946; timm",
    ),
    classifier(
        "efficientnet_lite0",
        at_1000("EfficientNet-Lite0, ReLU6 and no gates", "4,652,008"),
        "efficientnet:build_lite0",
        32,
        "Liu, EfficientNet-Lite, 2020; timm",
    ),
    classifier(
        "mixnet_s",
        at_1000("MixNet-S", "4,134,606"),
        "efficientnet:build_mixnet_s",
        32,
        "Tan and Le, BMVC 2019, arXiv 1907.09595; timm",
    ),
)

MODELS = Table("model", _SPECS)
