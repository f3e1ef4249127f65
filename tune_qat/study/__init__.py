"""A study: what one file of `search_spaces/` says, with its arms and the trials they plan."""

from tune_qat.study.arms import Arm
from tune_qat.study.study import Study

__all__ = ["Arm", "Study"]
