"""Addresses and checksums of archives from torchvision's own tables, which are kept there."""

from dataclasses import replace

from tune_qat.data.fetch.sources import Source


def with_published(source: Source) -> Source:
    """Return a source whose archives have addresses and checksums, torchvision's where it is the one to say.

    Imports torchvision, which takes seconds, for those alone.
    """
    if not source.torchvision:
        return source
    from torchvision import datasets

    table = getattr(datasets, source.torchvision)
    if hasattr(table, "resources"):
        sums = dict(table.resources)
        urls = {file: tuple(f"{mirror}{file}" for mirror in table.mirrors) for file in sums}
    else:
        sums, urls = {table.filename: table.tgz_md5}, {table.filename: (table.url,)}
    archives = [replace(one, urls=urls[one.file], checksum=f"md5:{sums[one.file]}") for one in source.archives]
    return replace(source, archives=tuple(archives))
