"""The table of datasets, and how one is loaded by name. Free of torch: a loader is imported when it is called."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tune_qat.config.lookup import Table, check_options, resolve, wrong_option
from tune_qat.data.spec import CLASSIFICATION, SUPER_RESOLUTION, DatasetSpec, ModelInput
from tune_qat.data.task import Dataset

DATA_DIR_VARIABLE = "TUNE_QAT_DATA"
MINIMUM = {
    "split_seed": 0,
    "train_limit": 0,
    "subset_seed": 0,
    "val_seed": 0,
    "scale": 2,
    "patch_size": 1,
    "patches_per_image": 1,
    "evaluation_crop": 0,
    "image_size": 16,
}
"""Smallest value of each integer option."""
PHOTOS_SPLIT_SEED = 19
"""The first seed that puts the four scenes into training that are poor tests: the stereo pair would count twice in a
mean over images, stars on black are like no other photograph, and on `china` and `rocket` (detail finer than the low
resolution holds; night noise) bicubic interpolation itself is hardly better than nearest neighbour."""
LATER = ("subset_seed", "val_seed")
"""Options that came after the first records: resolved where they are used, so that the others keep their identity."""
CHOICES = {"augment": ("none", "crop_flip")}
"""Allowed values of each option that is a word."""


def _labelled(*, augment: str, **more: Any) -> dict[str, Any]:
    """Return the options of a classification dataset; `train_limit` 0 means all training samples.

    `split_seed` fixes the test samples. `subset_seed` counts the subsets of `train_limit` samples, and `val_seed` draws
    the validation samples anew (`splits.held_out`); 0 leaves both as `split_seed` has them.
    `in_memory`, an option of datasets that are decoded from many files, keeps the decoded images on disk if false.
    """
    later = dict.fromkeys(LATER, 0)
    return {"split_seed": 0, "train_limit": 0, "augment": augment, **later, **more}


def _paired(*, split_seed: int, evaluation_crop: int) -> dict[str, Any]:
    """Return the options of a super-resolution dataset, patches as for ESPCN (Shi et al., CVPR 2016, section 3.2).

    `patch_size` is in low-resolution pixels, `evaluation_crop` in high-resolution pixels (0: whole images).
    """
    return {
        "split_seed": split_seed,
        "scale": 3,
        "patch_size": 17,
        "patches_per_image": 16,
        "evaluation_crop": evaluation_crop,
        "val_seed": 0,
    }


def _torchvision_download(class_name: str) -> str:
    return f"python -c \"from torchvision.datasets import {class_name}; {class_name}('DATA_DIR', download=True)\""


_SPECS = (
    DatasetSpec(
        name="photos",
        task=SUPER_RESOLUTION,
        metric="psnr",
        summary="9 colour photographs of 8 scenes from scikit-image and scikit-learn; nothing to download",
        loader="tune_qat.data.photos:load_photos",
        options=_paired(split_seed=PHOTOS_SPLIT_SEED, evaluation_crop=192),
        image=(1, "patch_size"),
    ),
    DatasetSpec(
        name="div2k",
        task=SUPER_RESOLUTION,
        metric="psnr",
        summary="DIV2K, 800 + 100 photographs of about 2K; evaluated on whole images",
        loader="tune_qat.data.div2k:load_div2k",
        options=_paired(split_seed=0, evaluation_crop=0),
        image=(1, "patch_size"),
        folders=(("DIV2K_train_HR",), ("DIV2K_valid_HR",)),
        layout="DATA_DIR/DIV2K_train_HR/*.png and DATA_DIR/DIV2K_valid_HR/*.png",
        how_to_get="unpack DIV2K_train_HR.zip and DIV2K_valid_HR.zip from https://data.vision.ee.ethz.ch/cvl/DIV2K/",
    ),
    DatasetSpec(
        name="digits",
        task=CLASSIFICATION,
        summary="1,797 handwritten digits from scikit-learn, enlarged to 28 x 28; nothing to download",
        loader="tune_qat.data.digits:load_digits",
        options=_labelled(augment="none"),
        image=(1, 28),
    ),
    DatasetSpec(
        name="mnist",
        task=CLASSIFICATION,
        summary="MNIST, 60,000 + 10,000 handwritten digits of 28 x 28",
        loader="tune_qat.data.torchvision_sets:load_mnist",
        options=_labelled(augment="none"),
        image=(1, 28),
        folders=(("MNIST/raw",),),
        layout="DATA_DIR/MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte",
        how_to_get=_torchvision_download("MNIST"),
    ),
    DatasetSpec(
        name="fashion_mnist",
        task=CLASSIFICATION,
        summary="Fashion-MNIST, 60,000 + 10,000 pictures of clothing of 28 x 28",
        loader="tune_qat.data.torchvision_sets:load_fashion_mnist",
        options=_labelled(augment="none"),
        image=(1, 28),
        folders=(("FashionMNIST/raw",),),
        layout="DATA_DIR/FashionMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte",
        how_to_get=_torchvision_download("FashionMNIST"),
    ),
    DatasetSpec(
        name="cifar10",
        task=CLASSIFICATION,
        summary="CIFAR-10, 50,000 + 10,000 colour pictures of 32 x 32",
        loader="tune_qat.data.torchvision_sets:load_cifar10",
        options=_labelled(augment="crop_flip"),
        image=(3, 32),
        folders=(("cifar-10-batches-py",),),
        layout="DATA_DIR/cifar-10-batches-py/{data_batch_1..5,test_batch,batches.meta}",
        how_to_get=_torchvision_download("CIFAR10"),
    ),
    DatasetSpec(
        name="tsinghua_dogs",
        task=CLASSIFICATION,
        summary="Tsinghua Dogs, 65,228 + 5,200 photographs of 130 breeds",
        loader="tune_qat.data.tsinghua_dogs:load_tsinghua_dogs",
        options=_labelled(augment="crop_flip", image_size=224, use_boxes=False, in_memory=True),
        image=(3, "image_size"),
        folders=(("low-resolution",),),
        layout=(
            "DATA_DIR/low-resolution/<breed>/*.jpg, DATA_DIR/TrainAndValList/{train,validation}.lst and, "
            "with use_boxes, DATA_DIR/Low-Annotations/<breed>/*.jpg.xml"
        ),
        how_to_get="unpack low-resolution.zip, TrainValSplit.zip and low-annotations.zip from "
        "https://cg.cs.tsinghua.edu.cn/ThuDogs/",
    ),
    DatasetSpec(
        name="imagenet",
        task=CLASSIFICATION,
        summary="ImageNet, 1,281,167 + 50,000 photographs of 1,000 classes; or any folders of images by class",
        loader="tune_qat.data.imagenet:load_imagenet",
        options=_labelled(augment="crop_flip", image_size=224, in_memory=False),
        image=(3, "image_size"),
        folders=(("imagenet/train", "train"), ("imagenet/val", "val")),
        layout="DATA_DIR/imagenet/{train,val}/<class>/*.JPEG, or DATA_DIR/{train,val}/<class>/*.JPEG",
        how_to_get="download ILSVRC2012_devkit_t12.tar.gz, ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar from "
        "https://image-net.org/download.php (needs an account) to DATA_DIR/imagenet, and unpack them there: "
        'python -c "from torchvision.datasets import ImageNet; '
        "[ImageNet('DATA_DIR/imagenet', split) for split in ('train', 'val')]\"",
    ),
)

DATASETS = Table("dataset", _SPECS)
get_spec = DATASETS.get_spec


def resolve_options(spec: DatasetSpec, given: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve every option of the dataset: what was given over the defaults, in the defaults' types and order.

    An option of `LATER` is left out at its default.

    Raises:
        UsageError: an option that the dataset does not have, or a value of another type or out of range.
    """
    check_options("dataset", spec.name, given, spec.options)
    found = {key: _checked(spec, key, given.get(key, default)) for key, default in spec.options.items()}
    return {key: value for key, value in found.items() if key not in LATER or value != spec.options[key]}


def known_input(name: str, options: Mapping[str, Any]) -> ModelInput | None:
    """Return the input of models as the table knows it, without the files: the number of classes is a stand-in."""
    spec, given = get_spec(name), resolve_options(get_spec(name), options)
    if spec.image is None:
        return None
    channels, side = spec.image
    pixels = given[side] if isinstance(side, str) else side
    return ModelInput(
        task=spec.task, channels=channels, height=pixels, width=pixels, classes=10, scale=given.get("scale")
    )


def load(
    name: str,
    *,
    data_dir: str | Path | None = None,
    default_data_dir: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> Dataset:
    """Load a dataset into memory, or with its option `in_memory` false into files that are mapped into memory.

    Args:
        name: a name of the table.
        data_dir: the data folder; if None, that of the variable TUNE_QAT_DATA. Built-in data needs none.
        default_data_dir: the data folder if neither of them names one.
        options: options that differ from the dataset's defaults.

    Raises:
        UsageError: an unknown dataset or option, or a value that the option does not take.
        TuneQatError: the data is missing or cannot be read.
    """
    spec = get_spec(name)
    resolved = resolve_options(spec, options or {})
    dataset: Dataset = resolve(spec.loader)(_folder(data_dir, default_data_dir), **resolved)
    return dataset


def check_present(
    name: str, *, data_dir: str | Path | None = None, default_data_dir: str | Path | None = None
) -> Path | None:
    """Return the data folder in which `load` would find a dataset; None for data that comes with a library.

    Nothing is read.

    Raises:
        UsageError: an unknown dataset.
        TuneQatError: a folder of the dataset is missing.
    """
    from tune_qat.data.folders import require

    spec, folder = get_spec(name), _folder(data_dir, default_data_dir)
    for alternatives in spec.folders:
        require(spec, folder, *alternatives)
    return folder if spec.folders else None


def _folder(data_dir: str | Path | None, default: str | Path | None) -> Path | None:
    folder = data_dir or os.environ.get(DATA_DIR_VARIABLE) or default
    return Path(folder).expanduser() if folder else None


def _checked(spec: DatasetSpec, key: str, value: Any) -> Any:
    """Take a value in its option's type. A whole number will do for a fraction; a truth value is no number."""
    kind = type(spec.options[key])
    if kind is float and type(value) is int:
        value = float(value)
    allowed = f"one of {', '.join(CHOICES[key])}" if key in CHOICES else _range_text(kind, MINIMUM.get(key))
    fits = type(value) is kind and (key not in CHOICES or value in CHOICES[key])
    if not fits or (key in MINIMUM and value < MINIMUM[key]):
        raise wrong_option("dataset", spec.name, key, allowed, value)
    return value


def _range_text(kind: type, minimum: int | None) -> str:
    text = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[kind]
    return text if minimum is None else f"{text} of at least {minimum}"
