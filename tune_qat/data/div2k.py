"""DIV2K (Agustsson and Timofte, NTIRE 2017) in the folders of its archives."""

from pathlib import Path
from typing import Any

from tune_qat.config import TuneQatError
from tune_qat.data.folders import require
from tune_qat.data.image_pairs import load_pairs
from tune_qat.data.splits import held_out, shuffled
from tune_qat.data.table import DATASETS
from tune_qat.data.task import Dataset

MIN_VAL, MAX_VAL = 2, 100


def load_div2k(data_dir: Path | None, **options: Any) -> Dataset:
    """Load DIV2K: `DIV2K_valid_HR` is the test split; a tenth of `DIV2K_train_HR`, 2 to 100 images, is validation.

    Raises `TuneQatError` if a folder is missing or holds too few images, or an image cannot be read.
    """
    spec = DATASETS["div2k"]
    source, test = official_files(data_dir)
    n_val = min(MAX_VAL, max(MIN_VAL, len(source) // 10))
    if len(source) <= n_val:
        raise TuneQatError(
            f"DIV2K_train_HR must hold more than {MIN_VAL} images, of which {MIN_VAL} are kept for validation, "
            f"but {source[0].parent} holds {len(source)}."
        )
    val, train = held_out(shuffled(len(source), options["split_seed"]), n_val, options)
    files = {"train": [source[i] for i in train], "val": [source[i] for i in val], "test": test}
    return load_pairs(spec, options, files)


def official_files(data_dir: Path | None) -> tuple[list[Path], list[Path]]:
    """Return the images of `DIV2K_train_HR` and of `DIV2K_valid_HR`, in order; `TuneQatError` if there are none."""
    spec = DATASETS["div2k"]
    train, test = (
        sorted(require(spec, data_dir, f"DIV2K_{part}_HR", pattern="*.png").glob("*.png"))
        for part in ("train", "valid")
    )
    return train, test
