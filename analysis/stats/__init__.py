"""What the record says in numbers: intervals, comparisons, verdicts. Each table is a function from results to a frame.

What is computed, from which source and with which measured coverage: docs/statistics.md.
"""

__all__: list[str] = []
