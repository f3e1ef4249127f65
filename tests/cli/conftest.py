"""Fixtures of all files here."""

from tests.cli.typed import small as small
from tests.cli.typed import tune_qat as tune_qat
