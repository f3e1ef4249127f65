"""Post-activation ResNets for ImageNet from torchvision, for images of at least 32 x 32.

The stem is that for ImageNet, whatever the image size. Bottlenecks stride in their 3 x 3 convolution ("v1.5"), where
the paper's do in the first 1 x 1.
"""

from functools import partial

from tune_qat.models.parts import from_torchvision

build_resnet18 = partial(from_torchvision, "resnet18")
build_resnet34 = partial(from_torchvision, "resnet34")
build_resnet50 = partial(from_torchvision, "resnet50")
build_resnet101 = partial(from_torchvision, "resnet101")
build_resnet152 = partial(from_torchvision, "resnet152")
