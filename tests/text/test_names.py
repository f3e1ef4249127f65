"""Every part that the tables know has a name as people write it, and no two have the same."""

from tune_qat.data.table import DATASETS
from tune_qat.data.tasks import TASKS
from tune_qat.optimizers import OPTIMIZERS
from tune_qat.quantizers import QUANTIZERS
from tune_qat.text.names import _SHOWN, in_words, shown


def test_names_are_as_people_write_them() -> None:
    assert [shown(name) for name in ("rmsprop", "adam", "adamw", "psnr")] == ["RMSProp", "Adam", "AdamW", "PSNR"]
    assert shown("my_code.parts:Mine") == "my_code.parts:Mine", "a part of one's own has its own name"


def test_every_optimizer_quantizer_and_metric_is_named() -> None:
    metrics = {TASKS.get_spec(name).metric for name in TASKS} | {DATASETS.get_spec(name).metric for name in DATASETS}
    known = [name for name in {*OPTIMIZERS, *QUANTIZERS, *metrics} if name]
    assert set(known) <= set(_SHOWN)
    assert len({shown(name) for name in known}) == len(known)


def test_both_names_of_two_optimizers_are_written() -> None:
    assert shown("sgd + adam steps") == "SGD + Adam steps"
    assert shown("sgd_momentum + own-rate steps") == "SGD with momentum + own-rate steps"


def test_names_in_sentences_are_whole_words_that_were_asked_for() -> None:
    said = (
        "sgd and sgd_clip are one method; adam gains 1 dB on sgd + adam steps. `tune-qat list adam`, adam.toml, my-sgd"
    )
    assert in_words(said, ["sgd", "sgd_clip", "adam"]) == (
        "SGD and SGD with clipping are one method; Adam gains 1 dB on SGD + Adam steps. `tune-qat list adam`, "
        "adam.toml, my-sgd"
    )
    assert in_words("the lion and the adam", ["lion"]) == "the Lion and the adam"
    assert (
        in_words("against adam: sgd. my.sgd:adam, sgd.toml", ["adam", "sgd"])
        == "against Adam: SGD. my.sgd:adam, sgd.toml"
    )
    assert in_words("psnr 29.6, of mine", ["psnr", "mine"]) == "PSNR 29.6, of mine"
    assert in_words("nothing to name", []) == "nothing to name"
