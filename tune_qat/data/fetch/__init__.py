"""Data sets fetched from their publishers or a mirror, and verified. Free of torch and HTTP until asked."""

from tune_qat.data.fetch.sources import SOURCES, Archive, Source

__all__ = ["SOURCES", "Archive", "Source"]
