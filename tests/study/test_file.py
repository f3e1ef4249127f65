"""Study files: reading, extending, overriding, and one clear message for every mistake."""

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.study_files import SMALL, changed, write
from tune_qat.config import UsageError
from tune_qat.study import Study
from tune_qat.study.file import bundled, parse_override, summary


def error_of(space: str, overrides: dict[str, Any] | None = None) -> str:
    with pytest.raises(UsageError) as raised:
        Study.load(space, overrides)
    assert type(raised.value) is UsageError
    return str(raised.value)


BITS = "bits = [[32, 32], [4, 4]]"
BATCH = "batch_size = { low = 8, high = 64 }"
OPTIMIZERS = '["adam", "nesterov"]'
MISTAKES = {
    # Unknown keys at every level, with the nearest known one.
    "top": (
        'mode_ = "joint"\n' + SMALL,
        ["mode_: unknown key", "Did you mean 'mode'?", "Known here: name, note, mode, seed"],
    ),
    "section": (changed("[stages]", "[stagess]"), ["stagess: unknown key", "mean 'stages'", "stages: missing"]),
    "in a section": (changed("epochs = 9", "epochs = 9\nepoch = 3"), ["training.epoch: unknown", "mean 'epochs'"]),
    "in a range": (changed("low = 8", "lo = 8"), ["space.batch_size.lo: unknown", "Known here: low, high, default"]),
    "deep": (
        SMALL + "[space.per_optimizer.adam.learning_rate]\nhihg = 0.1\n",
        ["space.per_optimizer.adam.learning_rate.hihg: unknown key. Did you mean 'high'? Known here: low, high."],
    ),
    # Wrong types.
    "text": (changed("epochs = 9", 'epochs = "9"'), ["training.epochs: must be a whole number, but got '9'"]),
    "fraction": (changed("epochs = 9", "epochs = 9.0"), ["training.epochs: must be a whole number, but got 9.0"]),
    "truth": (changed("margin = 0.01", "margin = true"), ["judgement.margin: must be a number, but got True"]),
    "value": (
        changed(BATCH, "batch_size = 8"),
        ["space.batch_size: must be a section with the keys low, high, default"],
    ),
    "no list": (changed(OPTIMIZERS, '"adam"'), ["space.optimizers: must be a list, but got 'adam'"]),
    "number as name": ("name = 2026\n" + SMALL, ["name: must be text, but got 2026"]),
    "date": ("seed = 2026-01-01\n" + SMALL, ["seed: must be a whole number", "2026"]),
    "missing": (changed('metric = "accuracy"\n', ""), ["judgement.metric: missing"]),
    "empty": ("", ["workload: missing", "judgement: missing"]),
    # Ranges.
    "inverted": (changed(BATCH, f"learning_rate = {{ low = 1, high = 0.1 }}\n{BATCH}"), ["adam", "from 1 to 0.1"]),
    "empty range": (changed(BATCH, f"learning_rate = {{ low = 1, high = 1 }}\n{BATCH}"), ["low must be below high"]),
    "below zero": (
        changed(BATCH, f"learning_rate = {{ low = -1 }}\n{BATCH}"),
        ["space.learning_rate.low: must be greater than 0, but got -1"],
    ),
    "nan": (changed(BATCH, f"learning_rate = {{ low = nan }}\n{BATCH}"), ["space.learning_rate.low: must be", "nan"]),
    "infinite": (changed(BATCH, f"learning_rate = {{ high = inf }}\n{BATCH}"), ["finite number, but got inf"]),
    "no power of two": (changed("low = 8", "low = 12"), ["space.batch_size: low must be a power of two, but got 12"]),
    "no batch": (changed("low = 8", "low = 0"), ["space.batch_size.low: must be greater than or equal to 1"]),
    "batch inverted": (changed("low = 8", "low = 128"), ["low must be at most high, but got low = 128 and high = 64"]),
    "default outside": (changed("low = 8", "default = 4, low = 8"), ["default must be from low (8) to high (64)"]),
    # Names.
    "optimizer": (changed('"adam"', '"adamm"'), ["space.optimizers: Unknown optimizer 'adamm'", "mean 'adam'", "lion"]),
    "optimizer twice": (changed('"nesterov"', '"adam"'), ["space.optimizers: each optimizer may appear once"]),
    "no optimizer": (changed(OPTIMIZERS, "[]"), ["space.optimizers: must not be empty"]),
    "model": (changed("lenet5", "lenet"), ["workload.model: Unknown model 'lenet'", "mean 'lenet5'", "espcn"]),
    "misfit": (changed("lenet5", "espcn"), ["workload.model", "super-resolution", "classification", "resnet18"]),
    "dataset": (changed("digits", "digit"), ["workload.dataset: Unknown dataset 'digit'", "mean 'digits'", "mnist"]),
    "quantizer": (
        changed(BITS, 'quantizer = "lqs"\n' + BITS),
        ["quantization.quantizer: Unknown", "mean 'lsq'"],
    ),
    "metric": (changed('"accuracy"', '"psnr"'), ["judgement.metric: must be 'accuracy'", "'digits'", "got 'psnr'"]),
    "reference": (
        changed("margin = 0.01", 'margin = 0.01\nreference = "lion"'),
        ["judgement.reference: must be one of space.optimizers (adam, nesterov)", "got 'lion'"],
    ),
    "reference of a joint search": (
        'mode = "joint"\n' + changed("margin = 0.01", 'margin = 0.01\nreference = "adam"'),
        ['judgement.reference: is for mode = "comparison"'],
    ),
    "mode": ('mode = "compare"\n' + SMALL, ["mode: must be 'comparison' or 'joint', but got 'compare'"]),
    # Bits.
    "one bit": (
        changed(BITS, "bits = [[1, 1]]"),
        ["quantization: ", "2 to 8 bits of weights, or 32", "is 1", "no positive level"],
    ),
    "bits of a layer": (
        changed(BITS, BITS + '\nlayers = { "conv1" = [8] }'),
        ["layer_bits of 'conv1' must be [weight bits, activation bits], but got [8]"],
    ),
    "a word for a layer's bits": (
        changed(BITS, BITS + '\nlayers = { "conv1" = "flaot" }'),
        ["quantization.layers: conv1 must be [weight bits, activation bits] or \"float\", but got 'flaot'"],
    ),
    "attention that is no truth value": (
        changed(BITS, BITS + "\nattention = 1"),
        ["quantization.attention: must be true or false, but got 1"],
    ),
    "an option that there is not": (
        changed(BITS, BITS + "\noptions = { per_chanel = true }"),
        ["has no option 'per_chanel'. Did you mean 'per_channel'? It takes: per_channel."],
    ),
    "an option's value": (
        changed(BITS, BITS + "\noptions = { per_channel = 1 }"),
        ["'per_channel' of quantizer 'lsq' must be one of false, true, but got 1"],
    ),
    "another method for activations": (
        changed(BITS, BITS + '\nactivation_quantizer = "lqs"'),
        ["Unknown quantizer 'lqs'. Did you mean 'lsq'?"],
    ),
    "nine bits": (
        changed(BITS, "bits = [[9, 4]]"),
        ["2 to 8 bits of weights, or 32 (not quantized), but weight_bits is 9"],
    ),
    "64 bits": (changed(BITS, "bits = [[64, 4]]"), ["weight_bits is 64"]),
    "no pair": (
        changed(BITS, "bits = [[4]]"),
        ["quantization.bits: each entry must be [weight bits, activation bits]"],
    ),
    "no pairs": (changed(BITS, "bits = [4, 4]"), ["quantization.bits.0: must be a list, but got 4"]),
    "pair twice": (changed(BITS, "bits = [[4, 4], [4, 4]]"), ["each pair of bits may appear once"]),
    "no bits": (changed(BITS, "bits = []"), ["quantization.bits: must not be empty"]),
    # What does not go together.
    "no pretrain": (changed('init = "scratch"\n', ""), ["training.init", "needs a [pretrain] section"]),
    "a model's option": (
        changed('dataset = "digits"', 'dataset = "digits"\nmodel_options = { width = 3 }'),
        ["workload.model_options", "Model 'lenet5' has no option 'width'. It takes none."],
    ),
    "an option of the data": (
        changed('model = "lenet5"', 'model = "timm:resnet18"\nmodel_options = { in_chans = 1 }'),
        ["workload.model_options", "'in_chans' of model 'timm:resnet18' follows from the data"],
    ),
    "no name of a library": (
        changed('"lenet5"', '"timm:hf-hub:a/b"'),
        ["workload.model: Model 'timm:hf-hub:a/b' must be written as timm:NAME"],
    ),
    "no weights": (changed('"scratch"', '"weights"'), ['training: init = "weights" needs weights']),
    "weights unused": (
        changed('"scratch"', '"scratch"\nweights = "timm"'),
        ['training: weights is used with init = "weights"', 'but init is "scratch"'],
    ),
    "no path": (changed('"scratch"', '"path"'), ['training: init = "path" needs init_path']),
    "distillation without a teacher": (
        changed("[space]", "[training.distillation]\nweight = 0.5\n\n[space]"),
        ["training: distillation needs a teacher", 'init is "scratch"', 'use init = "pretrain", "weights" or "path"'],
    ),
    "distillation where there are no classes": (
        changed('model = "lenet5"\ndataset = "digits"', 'model = "espcn"\ndataset = "photos"')
        .replace('"scratch"', '"path"\ninit_path = "x"\ndistillation = {}')
        .replace('"accuracy"', '"psnr"'),
        ["training.distillation: is defined for classification, but dataset 'photos' is for super-resolution"],
    ),
    "distillation of nothing": (
        changed('"scratch"', '"path"\ninit_path = "x"\ndistillation = { weight = 0.0 }'),
        ["training.distillation: distillation weight must be above 0 and at most 1, but got 0.0"],
    ),
    "freezing at once": (
        changed("epochs = 9", "epochs = 9\nfreezing = { threshold_start = 0.1, threshold_end = 0.01 }"),
        ["training.freezing: freezing threshold_end must be at least twice momentum (0.01)", "but got 0.01"],
    ),
    "freezing without an end": (
        changed("epochs = 9", "epochs = 9\nfreezing = { threshold_start = 0.1 }"),
        ["training.freezing.threshold_end: missing"],
    ),
    "freezing of two sizes": (
        changed(BITS, 'quantizer = "ttq"\nbits = [[32, 32], [2, 32]]').replace(
            "epochs = 9", "epochs = 9\nfreezing = { threshold_start = 0.1, threshold_end = 0.02 }"
        ),
        ["training: Weights of quantizer 'ttq' at weight_bits = 2 cannot be frozen", "take more bits or another"],
    ),
    "dampening of nothing": (
        changed("epochs = 9", "epochs = 9\ndampening = { weight = 0.0 }"),
        ["training.dampening: dampening weight must be above 0, but got 0.0"],
    ),
    "dampening on another scale": (
        changed(BITS, 'quantizer = "dorefa"\n' + BITS).replace("epochs = 9", "epochs = 9\ndampening.weight = 0.1"),
        ["training: Weights of quantizer 'dorefa' cannot be dampened", "as in lsq, lsq_plus, dsq, qnn"],
    ),
    "milestones of another schedule": (
        changed("epochs = 9", "epochs = 9\nmilestones = [3]"),
        ["training: milestones and decay belong to schedule = \"step\", but schedule is 'cosine'"],
    ),
    "milestones that do not rise": (
        changed("epochs = 9", 'epochs = 9\nschedule = "step"\nmilestones = [6, 3]'),
        ["training: milestones must rise, after warmup_epochs (0) and below epochs (9), but got [6.0, 3.0]"],
    ),
    "milestone after the end": (
        changed("epochs = 9", 'epochs = 9\nschedule = "step"\nmilestones = [9]'),
        ["milestones must rise", "but got [9.0]"],
    ),
    "decay that grows": (
        changed("epochs = 9", 'epochs = 9\nschedule = "step"\ndecay = 2'),
        ["training: decay must be above 0 and below 1, but got 2.0"],
    ),
    "searched bits in comparison mode": (
        changed("bits = [[32, 32], [4, 4]]", "bits = [[2, 2], [4, 4]]\nsearch_bits = true"),
        ['quantization.search_bits: is for mode = "joint"; in comparison mode each pair'],
    ),
    "searched bits with the control": (
        'mode = "joint"\n' + changed("bits = [[32, 32], [4, 4]]", "bits = [[32, 32], [4, 4]]\nsearch_bits = true"),
        ["quantization.search_bits: needs at least two pairs of bits and no [32, 32]"],
    ),
    "a method twice": (
        changed("bits = [[32, 32], [4, 4]]", 'bits = [[4, 4]]\nmethods = [{ name = "again", bits = [[4, 4]] }]'),
        ["quantization", "'again' is at w4a4 the same as 'lsq'"],
    ),
    "the control in a method": (
        changed("bits = [[32, 32], [4, 4]]", 'bits = [[4, 4]]\nmethods = [{ name = "float", bits = [[32, 32]] }]'),
        ["quantization.methods: [32, 32], the control of all methods, belongs in quantization.bits"],
    ),
    "bits that a method does not have": (
        changed(
            "bits = [[32, 32]", 'methods = [{ name = "t", quantizer = "twn", bits = [[4, 32]] }]\nbits = [[32, 32]'
        ),
        ["quantization.methods.0: Quantizer 'twn' is defined for 2 bits of weights"],
    ),
    "factor of no bit width": (
        changed("bits = [[32, 32], [4, 4]]", "bits = [[4, 4]]\nweight_decay_factors = { two = 0.5 }"),
        ["quantization.weight_decay_factors: keys must be weight bits, from 1 to 32, but got 'two'"],
    ),
    "path unused": (changed('"scratch"', '"scratch"\ninit_path = "x"'), ['init_path is used with init = "path" only']),
    "grace": (SMALL + "[asha]\ngrace_epochs = 10\n", ["asha.grace_epochs: must be at most training.epochs (9)"]),
    "warm-up": (
        changed("epochs = 9", "epochs = 9\nwarmup_epochs = 9"),
        ["training: warmup_epochs", "below epochs (9)"],
    ),
    "warm-up of the start": (
        SMALL + "[pretrain]\nbatch_size = 8\nepochs = 2\nwarmup_epochs = 2\n",
        ["pretrain: warmup_epochs", "below epochs (2)"],
    ),
    "no option": (SMALL + "[space.fixed.adam]\nmomentum = 0.9\n", ["space.fixed.adam", "no option 'momentum'", "eps"]),
    "not in the study": (SMALL + "[space.fixed.lion]\nbeta1 = 0.9\n", ["space.fixed.lion", "adam, nesterov"]),
    "data option": (changed('"digits"', '"digits"\noptions.scale = 2'), ["workload.options", "no option 'scale'"]),
    "nothing to train": (
        changed("search = 6", "search = 0\ndefault = false"),
        ["stages: must plan default, random or"],
    ),
    # Counts.
    "negative": (
        changed("search = 6", "search = -1"),
        ["stages.search: must be greater than or equal to 0, but got -1"],
    ),
    "immense": (changed("epochs = 9", "epochs = 10000000000"), ["training.epochs: must be less than or equal to"]),
    "no repeat": ("repeats = 0\n" + SMALL, ["repeats: must be greater than or equal to 1"]),
    "seeds": (changed("search = 6", "search = 6\nretrain = 10000"), ["stages.retrain: must be below 10000"]),
    "endless margin": (changed("margin = 0.01", "margin = inf"), ["judgement.margin: must be a finite number"]),
    "alpha": (SMALL + "alpha = nan\n", ["judgement.alpha: must be a finite number, but got nan"]),
}


@pytest.mark.parametrize(("text", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_with_file_key_value_and_what_is_allowed(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    path = write(tmp_path, text)
    message = error_of(path)
    assert message.startswith(f"{path}:\n  ")
    for part in expected:
        assert part in message
    for programmers_word in ("pydantic", "Section", "instance of", "dictionary", "Input should", "Value error"):
        assert programmers_word not in message


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b", "-x", "a b", "x\n", "é", "x" * 101, "C:x"])
def test_a_name_must_be_a_plain_file_name(tmp_path: Path, name: str) -> None:
    message = error_of(write(tmp_path), {"name": name})
    assert "name (from --set): must be a plain file name: letters, digits" in message
    assert repr(name) in message


def test_the_name_is_the_files_own_where_it_is_left_out(tmp_path: Path) -> None:
    assert Study.load(write(tmp_path, name="my.study.toml")).name == "my.study"
    assert Study.load(write(tmp_path, 'name = "2026"\n' + SMALL)).name == "2026"
    assert "it is the file's own name), but got 'my study'" in error_of(write(tmp_path, name="my study.toml"))


class TestReading:
    @pytest.mark.parametrize("space", ["quickstrat", "no/such.toml", "", ".", "x" * 300, "nul\0"])
    def test_what_is_no_study_is_said_with_what_is(self, space: str) -> None:
        message = error_of(space)
        assert message.startswith(f"No study {space!r}")
        assert message.endswith("`tune-qat list studies` names the bundled ones.")
        assert ("Did you mean 'quickstart'?" in message) == (space == "quickstrat")

    def test_a_folder_is_no_study(self, tmp_path: Path) -> None:
        assert "nor a TOML file" in error_of(str(tmp_path))

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (SMALL.encode() + b"foo bar\n", "is not valid TOML: "),
            (b"seed = 1\nseed = 2\n", "is not valid TOML: "),
            ("# é".encode("latin-1"), "is not a text file in UTF-8: unexpected end of data at byte 2"),
            (b"PAR1\x00\xff\xfe", "is not a text file in UTF-8"),
        ],
    )
    def test_what_is_no_toml_is_named(self, tmp_path: Path, content: bytes, said: str) -> None:
        path = tmp_path / "broken.toml"
        path.write_bytes(content)
        assert error_of(str(path)).startswith(f"{path} {said}")

    def test_the_mark_that_some_editors_put_first_is_read_over(self, tmp_path: Path) -> None:
        path = tmp_path / "marked.toml"
        path.write_text(SMALL, encoding="utf-8-sig")
        assert Study.load(str(path)).training.epochs == 9

    def test_a_bundled_name_is_the_bundled_study_whatever_lies_in_the_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(tmp_path, name="quickstart")
        monkeypatch.chdir(tmp_path)
        assert Study.load("quickstart").workload.dataset == "photos"
        assert Study.load("./quickstart").workload.dataset == "digits"

    def test_every_bundled_study_begins_with_the_question_it_answers(self) -> None:
        assert [name for name, path in bundled().items() if "?" not in summary(path)] == []

    def test_a_file_without_comments_has_no_summary(self, tmp_path: Path) -> None:
        assert summary(Path(write(tmp_path))) == ""


class TestExtend:
    def test_sections_are_merged_and_values_and_lists_replaced(self, tmp_path: Path) -> None:
        write(tmp_path, 'seed = 5\nname = "parent"\n' + SMALL)
        child = 'extend = "small.toml"\n[space]\noptimizers = ["lion"]\nbatch_size.low = 16\n[training]\nepochs = 3\n'
        study = Study.load(write(tmp_path, child, "child.toml"))
        assert study.name == "child", "a name is not inherited: two studies of one name would share a record"
        assert study.seed == 5
        assert study.space.optimizers == ["lion"]
        assert (study.space.batch_size.low, study.space.batch_size.high) == (16, 64)
        assert (study.training.epochs, study.training.init) == (3, "scratch")

    def test_a_path_is_meant_from_the_file_that_names_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = tmp_path / "studies"
        folder.mkdir()
        write(folder)
        child = write(folder, 'extend = "small.toml"', "child.toml")
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        write(elsewhere, changed("epochs = 9", "epochs = 4"))
        monkeypatch.chdir(elsewhere)
        assert Study.load(child).training.epochs == 9

    def test_a_bundled_study_is_extended_by_name_and_by_several_steps(self, tmp_path: Path) -> None:
        write(tmp_path, 'extend = "quickstart"\nseed = 1\n', "a.toml")
        study = Study.load(write(tmp_path, 'extend = "a.toml"\n[stages]\nsearch = 2\n', "b.toml"))
        assert (study.seed, study.stages.search, study.workload.dataset) == (1, 2, "photos")

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ('extend = "nope.toml"', "b.toml: extend: No study 'nope.toml'"),
            ('extend = "quickstrat"', "Did you mean 'quickstart'?"),
            ("extend = 3", "b.toml: extend must be a bundled name or a path, but got 3"),
            ('extend = "b.toml"', "b.toml: extend goes round in a circle"),
            ('extend = "a.toml"', "b.toml: extend goes round in a circle"),
            ('extend = "."', "nor a TOML file"),
        ],
    )
    def test_what_cannot_be_extended_is_named(self, tmp_path: Path, text: str, said: str) -> None:
        write(tmp_path, 'extend = "b.toml"', "a.toml")
        assert said in error_of(write(tmp_path, text, "b.toml"))

    def test_a_mistake_names_the_files_it_may_be_in(self, tmp_path: Path) -> None:
        parent = write(tmp_path, changed("epochs = 9", "epochs = 0"))
        child = write(tmp_path, 'extend = "small.toml"', "child.toml")
        assert error_of(child).startswith(f"{child} (extends {parent}):\n  training.epochs: ")

    def test_a_broken_parent_is_the_file_that_is_named(self, tmp_path: Path) -> None:
        parent = write(tmp_path, "foo bar")
        assert error_of(write(tmp_path, 'extend = "small.toml"', "child.toml")).startswith(
            f"{parent} is not valid TOML"
        )


class TestOverrides:
    def test_any_key_at_any_level(self, tmp_path: Path) -> None:
        overrides = {
            "seed": 3,
            "asha.enabled": False,
            "space.learning_rate.low": 1e-6,
            "space.optimizers": ["lion"],
            "space.per_optimizer.lion.beta1": {"low": 0.5, "high": 0.95},
            "space.batch_size.high": 128,
        }
        study = Study.load(write(tmp_path), overrides)
        assert study.seed == 3
        assert not study.asha.enabled
        assert study.space.optimizers == ["lion"]
        assert study.dimensions("lion")["learning_rate"].low == 1e-6
        assert study.dimensions("lion")["beta1"].high == 0.95
        assert (study.space.batch_size.low, study.space.batch_size.high) == (8, 128)

    @pytest.mark.parametrize(
        ("overrides", "said"),
        [
            ({"training.epoch": 3}, "training.epoch (from --set): unknown key. Did you mean 'epochs'?"),
            ({"trainng.epochs": 3}, "trainng (from --set): unknown key. Did you mean 'training'?"),
            ({"training.epochs": "abc"}, "training.epochs (from --set): must be a whole number, but got 'abc'"),
            ({"training": 3}, "training (from --set): must be a section with the keys epochs, schedule"),
            ({"training.epochs.x": 3}, "--set training.epochs.x: 'epochs' is a value, not a section."),
            ({"space.optimizers": "lion"}, "space.optimizers (from --set): must be a list, but got 'lion'"),
            ({"space.optimizers.0": "lion"}, "--set space.optimizers.0: 'optimizers' is a value, not a section."),
            ({"space.optimizers": ["adamm"]}, "space.optimizers (from --set): Unknown optimizer 'adamm'"),
            ({"space.learning_rate.low": 1}, "space.learning_rate (from --set): low must be below high"),
            ({"name": 2026}, "must be text, but got 2026; to give it as text: --set 'name=\"2026\"'"),
            ({"pretrain.epochs": 2}, "pretrain.batch_size: missing"),
            ({"extend": "quickstart"}, "extend (from --set): unknown key"),
        ],
        ids=str,
    )
    def test_a_mistake_says_that_it_was_not_in_the_file(
        self, tmp_path: Path, overrides: dict[str, Any], said: str
    ) -> None:
        assert said in error_of(write(tmp_path), overrides)

    def test_a_mistake_in_the_file_is_not_blamed_on_them(self, tmp_path: Path) -> None:
        path = write(tmp_path, changed("epochs = 9", "epochs = 0"))
        assert "from --set" not in error_of(path, {"seed": 1, "training.schedule": "step", "train": 1}).splitlines()[1]

    @pytest.mark.parametrize(
        ("text", "key", "value"),
        [
            ("a.b=1e-6", "a.b", 1e-6),
            ("a = 3", "a", 3),
            ("a=true", "a", True),
            ("a=lion", "a", "lion"),
            ('a="2026"', "a", "2026"),
            ('a=["x", "y"]', "a", ["x", "y"]),
            ("a={ low = 1 }", "a", {"low": 1}),
            ("a=", "a", ""),
            ("a=b=c", "a", "b=c"),
            ("a=1\nb=2", "a", "1\nb=2"),
            ("a=[1", "a", "[1"),
        ],
    )
    def test_a_value_is_read_as_toml_or_else_as_text(self, text: str, key: str, value: Any) -> None:
        assert parse_override(text) == (key, value)

    @pytest.mark.parametrize("text", ["a", "", "=3", ".=3", "a..b=1", "a.=1", " =1"])
    def test_what_is_no_key_and_value_is_refused(self, text: str) -> None:
        with pytest.raises(UsageError, match="--option takes key=value, such as momentum=0.9, but got"):
            parse_override(text, "--option", "momentum=0.9")
