"""The table of datasets. Free of torch: a loader is named here, and imported when it is called."""

from typing import Any

from tune_qat.config.lookup import Table
from tune_qat.data.spec import CLASSIFICATION, SUPER_RESOLUTION, DatasetSpec

PHOTOS_SPLIT_SEED = 19
"""The first seed that puts the four scenes into training that are poor tests: the stereo pair would count twice in a
mean over images, stars on black are like no other photograph, and on `china` and `rocket` (detail finer than the low
resolution holds; night noise) bicubic interpolation itself is hardly better than nearest neighbour."""
RESIZED_CROP = "resized_crop"
"""Augmentation that cuts random boxes out of whole images."""
LATER = ("subset_seed", "val_seed", "decoded_size")
"""Options that came after the first records: resolved where they are used, so that the others keep their identity."""


def _labelled(*, augment: str, **more: Any) -> dict[str, Any]:
    """Return the options of a classification dataset; `train_limit` 0 means all training samples.

    `split_seed` fixes the test samples. `subset_seed` counts the subsets of `train_limit` samples, and `val_seed` draws
    the validation samples anew (`splits.held_out`); 0 leaves both as `split_seed` has them.
    With `augment` resized_crop, where there is a `decoded_size`, training images are kept whole as squares of that many
    pixels, which random boxes are cut out of; 0: 8/7 of `image_size`, 256 for 224.
    `in_memory`, an option of datasets that are decoded from many files, keeps the decoded images on disk if false.
    """
    later = {"subset_seed": 0, "val_seed": 0}
    return {"split_seed": 0, "train_limit": 0, "augment": augment, **later, **more}


def of_arrays(**more: Any) -> dict[str, Any]:
    """Return the options of arrays of the user's, beside those of classification.

    `normalise` takes off the mean and divides by the deviation of each channel of the training split. `in_memory` keeps
    what is read from torch datasets in memory instead of in files; arrays are in memory anyway.
    """
    return _labelled(augment="none", normalise=False, in_memory=False, **more)


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


def _fetch(name: str, by_hand: str = "") -> str:
    """Return the command that gets a data set, and how to do without it."""
    return f"tune-qat data fetch {name} --data-dir DATA_DIR" + (f", or {by_hand}" if by_hand else "")


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
        how_to_get=_fetch(
            "div2k",
            "unpack DIV2K_train_HR.zip and DIV2K_valid_HR.zip from https://data.vision.ee.ethz.ch/cvl/DIV2K/",
        ),
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
        how_to_get=_fetch("mnist"),
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
        how_to_get=_fetch("fashion_mnist"),
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
        how_to_get=_fetch("cifar10"),
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
        how_to_get=_fetch(
            "tsinghua_dogs",
            "unpack low-resolution.zip, TrainValSplit.zip and low-annotations.zip from "
            "https://cg.cs.tsinghua.edu.cn/ThuDogs/",
        ),
    ),
    DatasetSpec(
        name="imagenet",
        task=CLASSIFICATION,
        summary="ImageNet, 1,281,167 + 50,000 photographs of 1,000 classes",
        loader="tune_qat.data.imagenet:load_imagenet",
        options=_labelled(augment="crop_flip", image_size=224, in_memory=False, decoded_size=0),
        image=(3, "image_size"),
        folders=(("imagenet/train", "train"), ("imagenet/val", "val")),
        layout="DATA_DIR/imagenet/{train,val}/<class>/*.JPEG, or DATA_DIR/{train,val}/<class>/*.JPEG",
        how_to_get="download ILSVRC2012_devkit_t12.tar.gz, ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar from "
        "https://image-net.org/download.php (needs an account) to DATA_DIR/imagenet, and unpack them there: "
        'python -c "from torchvision.datasets import ImageNet; '
        "[ImageNet('DATA_DIR/imagenet', split) for split in ('train', 'val')]\"",
    ),
    DatasetSpec(
        name="folder",
        task=CLASSIFICATION,
        summary="any images in class folders, of DATA_DIR/{train,val,test}",
        loader="tune_qat.data.class_folders:load_folder",
        options=_labelled(augment="none", image_size=224, in_memory=False, decoded_size=0),
        image=(3, "image_size"),
        folders=(("train",),),
        layout="DATA_DIR/{train,val,test}/<class>/*.png (or .jpg and others); val and test may be missing",
        how_to_get="put your images there, in a folder for each class",
    ),
    DatasetSpec(
        name="npz",
        task=CLASSIFICATION,
        summary="arrays of one .npz file in DATA_DIR, for any task",
        loader="tune_qat.data.npz:load_npz",
        options=of_arrays(file="data.npz"),
        any_task=True,
        layout="DATA_DIR/data.npz (option file) with train_inputs, train_targets and the same of val and test, which "
        "may be missing",
        how_to_get="numpy.savez('DATA_DIR/data.npz', train_inputs=..., train_targets=..., ...)",
    ),
)

DATASETS = Table("dataset", _SPECS)
