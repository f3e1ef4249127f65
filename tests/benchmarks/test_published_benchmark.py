import numpy as np
import pytest
from scipy import stats

from benchmarks.published_benchmark import IMAGES, permutation_p


@pytest.mark.parametrize("right", [(6, 2), (30, 15), (4, 4)])
def test_permutation_p_is_that_of_the_exact_distribution(right: tuple[int, int]) -> None:
    total = sum(right)
    dealt = np.arange(total + 1)
    chance = stats.hypergeom.pmf(dealt, 2 * IMAGES, total, IMAGES)
    exact = chance[np.abs(2 * dealt - total) >= abs(right[0] - right[1])].sum()
    # Four standard errors of a share of 100,000 are 0.0063.
    assert permutation_p(list(right)) == pytest.approx(exact, abs=0.007)
