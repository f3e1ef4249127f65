import pytest
import torch

from tune_qat.data.residency import free_memory, stays_on_device

GB = 10**9


@pytest.mark.parametrize(
    ("size", "free", "mapped", "stays"),
    [
        (10 * GB, None, False, True),  # in the host's memory, which the CPU's is
        (10 * GB, None, True, False),  # in a file: left there
        (10 * GB, 20 * GB, False, True),  # exactly half of a GPU's free memory
        (10 * GB, 20 * GB - 1, False, False),
        (10 * GB, 20 * GB, True, True),  # in a file, and the GPU has room
        (10 * GB, 20 * GB - 1, True, False),
        (1, 0, False, False),  # a GPU that is full
        (0, 0, False, True),
    ],
)
def test_a_split_takes_at_most_half_of_what_is_free(size: int, free: int | None, mapped: bool, stays: bool) -> None:
    assert stays_on_device(size, free=free, mapped=mapped) is stays


def test_the_memory_of_a_cpu_is_the_hosts() -> None:
    assert free_memory(torch.device("cpu")) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_free_memory_of_a_gpu_falls_by_what_is_put_on_it() -> None:
    device = torch.device("cuda")
    before = free_memory(device)
    held = torch.zeros(2**28, dtype=torch.uint8, device=device)
    after = free_memory(device)
    assert before is not None and after is not None and before - after >= held.nbytes
