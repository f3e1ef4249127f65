"""Whether compiling pays: by hand, and in which direction each count pushes."""

from dataclasses import replace

import pytest

from tune_qat.training.compile_cost import COSTS, CompileEstimate, worth_compiling

PLAN = CompileEstimate(samples=1_000_000, steps=10_000, features=10_000, layers=5, programs=1, processes=1)


def test_by_hand() -> None:
    # CPU: 1e6 samples x 1e4 activations x 5 ns = 50 s saved; 2 + 5 x 0.9 = 6.5 s to compile, 1.3 x that with one
    # process, twice that as a margin: 16.9 s a program.
    assert worth_compiling(PLAN, "cpu")
    assert worth_compiling(replace(PLAN, programs=2), "cpu")
    assert not worth_compiling(replace(PLAN, programs=3), "cpu")
    # GPU: 1e4 steps x 5 layers x 0.1 ms = 5 s saved; 20 s to compile.
    assert not worth_compiling(PLAN, "cuda")
    assert worth_compiling(replace(PLAN, steps=200_000), "cuda")


@pytest.mark.parametrize("change", [{"samples": 100_000}, {"features": 1_000}, {"processes": 20}, {"programs": 10}])
def test_less_to_train_or_more_to_compile_tips_it(change: dict[str, int]) -> None:
    assert not worth_compiling(replace(PLAN, **change), "cpu")


@pytest.mark.parametrize("device", COSTS)
@pytest.mark.parametrize(("count", "pays_when"), [("samples", "more"), ("programs", "fewer"), ("processes", "fewer")])
def test_the_answer_changes_at_most_once_as_a_count_grows(device: str, count: str, pays_when: str) -> None:
    plan = replace(PLAN, steps=200_000)
    answers = [worth_compiling(replace(plan, **{count: 2**power}), device) for power in range(31)]
    assert answers == sorted(answers, reverse=pays_when == "fewer")
    # On a GPU what is saved is launches, whatever the samples are.
    assert len(set(answers)) == (1 if (device, count) == ("cuda", "samples") else 2)


def test_an_unknown_device_is_eager() -> None:
    assert not worth_compiling(replace(PLAN, samples=10**12), "mps")
