"""MobileNets from torchvision, for images of at least 32 x 32. Dropout is 0.2 ahead of the last layer."""

from functools import partial

from tune_qat.models.parts import from_torchvision

build_v2 = partial(from_torchvision, "mobilenet_v2")
build_v3_small = partial(from_torchvision, "mobilenet_v3_small")
build_v3_large = partial(from_torchvision, "mobilenet_v3_large")
