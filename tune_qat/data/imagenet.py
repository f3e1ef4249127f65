"""ImageNet (Russakovsky et al., IJCV 2015)."""

from pathlib import Path
from typing import Any

from tune_qat.data.class_folders import load_class_folders
from tune_qat.data.folders import require
from tune_qat.data.table import DATASETS
from tune_qat.data.task import Dataset

VAL_SHARE, MAX_VAL = 0.05, 50_000


def load_imagenet(data_dir: Path | None, **options: Any) -> Dataset:
    """Load ImageNet: `val` is the test split; a stratified 5 % of `train`, at most 50,000 images, is validation.

    By default training shifts and mirrors centre squares; with `augment` resized_crop it cuts random boxes out of whole
    images, as the papers do. At 224 pixels squares take 200 GB, and whole images of 256 take 260: by default in files;
    `train_limit` or a smaller `image_size` takes less.

    Raises:
        TuneQatError: as `load_class_folders`.
    """
    spec = DATASETS["imagenet"]
    root = require(spec, data_dir, "imagenet/train", "train").parent
    folders = {"train": "train", "test": "val"}
    return load_class_folders(spec, root, folders, options, val_share=VAL_SHARE, max_val=MAX_VAL)
