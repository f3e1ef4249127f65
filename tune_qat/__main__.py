"""`python -m tune_qat` is `tune-qat`."""

from tune_qat.cli import main

main()
