"""A dataset from arrays or torch datasets by split: checked, with its validation split, its fingerprints."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tune_qat.config import UsageError, stable_hash
from tune_qat.config.shown import shown
from tune_qat.data.array_batches import ArrayBatches
from tune_qat.data.fingerprint import data_fingerprint, digest, split_fingerprint
from tune_qat.data.own_checks import as_array, check_classes, check_finite, input_type, settled, target_type
from tune_qat.data.own_items import Items
from tune_qat.data.own_overlap import check_apart, shared_contents
from tune_qat.data.spec import IMAGE_AXES, SPLITS, Arrays, DatasetSpec, ModelInput
from tune_qat.data.splits import held_out, shuffled, stratified_order
from tune_qat.data.task import Dataset, task_class

VAL_SHARE, MAX_VAL = 0.1, 5_000
GIVEN = ["given"]
"""Members of a split that was given whole, for the split fingerprint."""


def dataset_of(spec: DatasetSpec, options: Mapping[str, Any], found: Any) -> Dataset:
    """Return the dataset of what a user gives: a mapping from `train`, `val` and `test` to samples.

    Samples are a pair of arrays (inputs, targets) or a map-style torch dataset. A missing `val` is cut from `train`: a
    tenth, at most 5,000, stratified by class where labels are known.

    Args:
        spec: the dataset, with the task that it is for.
        options: every option, resolved.
        found: the mapping.

    Raises:
        UsageError: the samples cannot be trained on; the message says what is wrong with which split.
        TuneQatError: inputs cannot be written to the cache.
    """
    task = task_class(spec.task)
    if not issubclass(task, ArrayBatches):
        raise UsageError(f"Task {spec.task!r} is not for arrays, which dataset {spec.name!r} gives.")
    sources = _sources(spec, found)
    members = _members(spec, options, sources)
    parts = {split: _Part(spec, options, sources, split, index) for split, index in members.items()}
    _check_alike(spec, parts)
    _check_options(spec, options, parts["train"].arrays.inputs)
    model_input = _model_input(spec, task, sources, parts)
    for again in shared_contents({split: part.digests for split, part in parts.items()}):
        logging.getLogger(__name__).warning("Dataset %r: by content, %s.", spec.name, again)
    return Dataset(
        spec=spec,
        options=options,
        splits={split: part.arrays for split, part in parts.items()},
        fingerprint=data_fingerprint(spec.name, options, _content(sources, parts)),
        split_fingerprint=split_fingerprint(
            {split: part.index.tolist() if part.cut else GIVEN for split, part in parts.items()}
        ),
        names=None,
        model_input=model_input,
        train_index=members["train"],
    )


class _Part:
    """The samples of one split."""

    def __init__(
        self,
        spec: DatasetSpec,
        options: Mapping[str, Any],
        sources: Mapping[str, Arrays | Items],
        split: str,
        index: np.ndarray,
    ) -> None:
        self.cut, self.index = split == "train" or split not in sources, index
        self.source = "train" if self.cut else split
        whole = sources[self.source]
        if isinstance(whole, Items):
            try:
                read = whole.read(spec.name, index.tolist(), in_memory=options["in_memory"])
                check_finite(read.arrays.targets, "targets")
            except ValueError as error:
                raise wrong(spec, split, error) from error
            self.arrays, self.digests = read.arrays, read.digests
            return
        all_of_it = len(index) == len(whole.targets)
        self.arrays = whole if all_of_it else Arrays(inputs=whole.inputs[index], targets=whole.targets[index])
        self.digests = tuple(bytes.fromhex(digest(row)) for row in self.arrays.inputs)


def wrong(spec: DatasetSpec, split: str, why: object) -> UsageError:
    """Return the error of a split that cannot be trained on."""
    return UsageError(f"Split {split!r} of dataset {spec.name!r} cannot be trained on: {why}.")


def _sources(spec: DatasetSpec, found: Any) -> dict[str, Arrays | Items]:
    """Check what was given, and return it by split in our order."""
    if not isinstance(found, Mapping) or not set(found) <= set(SPLITS) or "train" not in found:
        got = f"a mapping with {', '.join(map(shown, found))}" if isinstance(found, Mapping) else type(found).__name__
        raise UsageError(
            f"Dataset {spec.name!r} must give a mapping from 'train', 'val' (may be missing) and 'test' (may be "
            f"missing where stages.retrain = 0) to samples, but gave {got}."
        )
    given = {split: found[split] for split in SPLITS if split in found}
    known = {split: _source(spec, split, samples) for split, samples in given.items()}
    raw = {split: as_array(part[0]) if isinstance(part, tuple | list) else part for split, part in given.items()}
    check_apart(spec.name, raw)
    return known


def _source(spec: DatasetSpec, split: str, samples: Any) -> Arrays | Items:
    try:
        if isinstance(samples, tuple | list) and len(samples) == 2:
            return _arrays(*map(as_array, samples))
        if hasattr(samples, "__getitem__") and hasattr(samples, "__len__") and not isinstance(samples, _NO_DATASET):
            if not len(samples):
                raise ValueError("it has no samples")
            return Items(samples)
    except ValueError as error:
        raise wrong(spec, split, error) from error
    what = f"{type(samples).__name__}" + (f" of {len(samples)}" if isinstance(samples, tuple | list) else "")
    raise wrong(
        spec,
        split,
        "samples are a pair of arrays (inputs, targets) or a map-style torch dataset, with a length and items by "
        f"number, but got {what}",
    )


_NO_DATASET = (str, bytes, tuple, list, Mapping, np.ndarray)


def _arrays(inputs: np.ndarray, targets: np.ndarray) -> Arrays:
    """Return arrays in the types that they are stored in; raise `ValueError` where they cannot be trained on."""
    if inputs.ndim < 2:
        raise ValueError(f"inputs have the shape {inputs.shape}; they need an axis of samples, and one or more beside")
    if not targets.ndim:
        raise ValueError("targets are a single number")
    if not len(inputs):
        raise ValueError("it has no samples")
    if len(inputs) != len(targets):
        raise ValueError(f"it has {len(inputs):,} inputs and {len(targets):,} targets")
    found = Arrays(
        inputs=settled(inputs, input_type(inputs.dtype)),
        targets=settled(targets, target_type(targets.dtype, targets.ndim)),
    )
    check_finite(found.inputs, "inputs")
    check_finite(found.targets, "targets")
    return found


def _members(
    spec: DatasetSpec, options: Mapping[str, Any], sources: Mapping[str, Arrays | Items]
) -> dict[str, np.ndarray]:
    """Return the numbers, in their source, of the samples of each split: int64 of shape (n,)."""
    whole = sources["train"]
    labels = None
    if isinstance(whole, Arrays) and whole.targets.ndim == 1 and whole.targets.dtype == np.int64:
        labels = whole.targets if whole.targets.min() >= 0 else None
    n = len(whole) if isinstance(whole, Items) else len(whole.targets)
    seed = options["split_seed"]
    order = shuffled(n, seed) if labels is None else stratified_order(labels, seed)
    if "val" in sources and options.get("val_seed"):
        raise UsageError(
            f"Option 'val_seed' (\"split\" in repeat.varies) draws validation samples anew, but dataset {spec.name!r} "
            "gives its own 'val'. Leave one of them out."
        )
    size = 0 if "val" in sources else max(1, min(MAX_VAL, round(VAL_SHARE * n)))
    if n <= size:
        raise wrong(spec, "train", f"{n} sample is too few to cut a validation split from")
    val, train = held_out(order, size, options, labels)
    found = {"train": train, **({} if "val" in sources else {"val": val})}
    for split in sources.keys() - {"train"}:
        part = sources[split]
        found[split] = np.arange(len(part) if isinstance(part, Items) else len(part.targets))
    return {split: found[split] for split in SPLITS if split in found}


def _check_alike(spec: DatasetSpec, parts: Mapping[str, _Part]) -> None:
    """Refuse splits whose samples are of another shape or type than those of train."""
    first = parts["train"].arrays
    for split, part in parts.items():
        for what in ("inputs", "targets"):
            one, other = getattr(part.arrays, what), getattr(first, what)
            if (one.shape[1:], one.dtype) != (other.shape[1:], other.dtype):
                raise wrong(
                    spec,
                    split,
                    f"its {what} are {one.dtype} of shape {one.shape[1:]} each, but those of train {other.dtype} of "
                    f"shape {other.shape[1:]}",
                )


def _check_options(spec: DatasetSpec, options: Mapping[str, Any], inputs: np.ndarray) -> None:
    """Refuse an option that does not fit the inputs."""
    if options["augment"] == "crop_flip" and inputs.ndim != IMAGE_AXES + 1:
        raise UsageError(
            f"Option 'augment' of dataset {spec.name!r}: crop_flip is for images (channels, height, width), but "
            f"samples have the shape {inputs.shape[1:]}."
        )
    if options["normalise"] and inputs.dtype.kind != "f" and inputs.dtype != np.uint8:
        raise UsageError(
            f"Option 'normalise' of dataset {spec.name!r} is for floats and 8-bit levels, but inputs are "
            f"{inputs.dtype}, which are taken for ids. Leave it out, or give floats."
        )


def _model_input(
    spec: DatasetSpec, task: type[ArrayBatches], sources: Mapping[str, Arrays | Items], parts: Mapping[str, _Part]
) -> ModelInput:
    """Return what a model has to fit, and check every label."""
    inputs, whole = parts["train"].arrays.inputs, sources["train"]
    cut = [part.arrays.targets for part in parts.values() if part.cut]
    known = whole.targets if isinstance(whole, Arrays) else np.concatenate(cut)
    try:
        outputs = task.outputs(known, inputs.shape[1:])
        check_classes(known, outputs, task.ignored)
    except ValueError as error:
        raise wrong(spec, "train", error) from error
    for split, part in parts.items():
        try:
            check_classes(part.arrays.targets, outputs, task.ignored)
        except ValueError as error:
            raise wrong(spec, split, error) from error
    ids = inputs.dtype.kind in "iu" and inputs.dtype != np.uint8
    return ModelInput.of_shape(inputs.shape[1:], task=spec.task, classes=outputs, dtype="int64" if ids else "float32")


def _content(sources: Mapping[str, Arrays | Items], parts: Mapping[str, _Part]) -> str:
    """Hash all samples, whatever split they are in; of torch datasets those that are read."""
    found: list[Any] = []
    for source, whole in sources.items():
        if isinstance(whole, Arrays):
            found.append([source, digest(whole.inputs, whole.targets)])
            continue
        read: list[Sequence[Any]] = []
        for part in parts.values():
            if part.source == source:
                answers = (digest(row) for row in part.arrays.targets)
                read += zip(part.index.tolist(), (one.hex() for one in part.digests), answers, strict=True)
        found.append([source, stable_hash(sorted(map(list, read)))])
    return stable_hash(found)
