"""A data set that is there, verified: bytes by their sums, then every sample by the project's own reader."""

from dataclasses import dataclass
from pathlib import Path

from tune_qat.config import TuneQatError
from tune_qat.data import check_present
from tune_qat.data.fetch.plan import named
from tune_qat.data.fetch.reading import read
from tune_qat.data.fetch.sources import Source
from tune_qat.data.fetch.sums import changed, read_sums, sums_file


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Answer of a verification."""

    name: str
    whole: bool
    text: str


def verify(source: Source, folder: Path) -> Verdict:
    """Compare what was fetched with its sums, read all samples, and count them."""
    sums: dict[str, str] = {}
    for archive in source.archives:
        sums |= read_sums(sums_file(folder, source.name, archive.file))
    faults = changed(folder, sums)
    if faults:
        return _broken(source, named(faults))
    try:
        check_present(source.name, data_dir=folder)
    except TuneQatError as error:
        return Verdict(name=source.name, whole=False, text=f"NOT THERE: {str(error).splitlines()[0]}")
    try:
        found = read(source, folder)
    except TuneQatError as error:
        return _broken(source, "; ".join(line.strip() for line in str(error).splitlines()))
    counts = f"{found.train:,} + {found.test:,} {found.what}"
    if (found.train, found.test) != source.samples:
        return _broken(source, f"{counts} in {folder}, but it has {source.samples[0]:,} + {source.samples[1]:,}")
    checked = f"{len(sums):,} files as they were fetched" if sums else "laid out by hand, so no sums to compare with"
    return Verdict(name=source.name, whole=True, text=f"whole: {counts}; {checked}")


def _broken(source: Source, why: str) -> Verdict:
    return Verdict(name=source.name, whole=False, text=f"BROKEN: {why}")
