"""Help beside the commands' own texts: their groups and order, words for values, and examples."""

GROUPS: dict[str, tuple[str, ...]] = {
    "Run a study": ("list", "data", "init", "plan", "check", "run", "status"),
    "Read what it found": ("report", "show", "query", "cost", "export", "export-runs"),
    "Go on from there": ("edges", "widen", "rerun", "simulate"),
    "Train without a study": ("train",),
    "Clusters, and records of other tools": ("doctor", "launch", "compact", "import", "schema"),
}
"""Commands in the order in which somebody needs them."""

METAVARS: dict[str, str] = {
    "space": "STUDY", "results": "RESULTS", "data_dir": "DIR", "code": "DIR", "output": "FILE", "save": "FILE",
    "address": "ADDRESS", "backend": "BACKEND", "format_": "FORMAT", "kind": "KIND", "question": "QUESTION",
    "trials": "N", "trial_budget": "N", "max_concurrent": "N", "cpus_per_trial": "N", "gpus_per_trial": "N",
    "workers_per_trial": "N",
    "workers": "N", "seeds": "N", "epochs": "N", "batch_size": "N", "threads": "N", "seed": "N", "nodes": "N",
    "cpus_per_node": "N", "gpus_per_node": "N", "memory_per_node": "GIB", "port": "N", "weight_bits": "BITS",
    "activation_bits": "BITS", "gpu_hours": "HOURS", "time_budget": "TIME", "storage_patience": "TIME", "time": "TIME",
    "model": "MODEL", "dataset": "DATASET", "optimizer": "OPTIMIZER", "quantizer": "QUANTIZER",
    "learning_rate": "RATE", "init": "FILE", "weights": "FILE", "trial_key": "TRIAL", "source": "STUDY|RESULTS",
    "study": "NAME", "name": "NAME", "on": "TARGET", "image": "NAME", "claim": "NAME", "namespace": "NAME",
    "service_account": "NAME", "partition": "NAME", "account": "NAME", "hosts": "HOSTS", "user": "NAME", "venv": "DIR",
    "bits": "BITS", "hours": "HOURS", "at_once": "N", "optimizers": "NAMES", "columns": "NAMES",
    "storage": "STORAGE", "experiment": "DIR", "metric": "NAME", "mode": "max|min", "epoch": "NAME", "trivial": "SCORE",
    "names": "NAME", "mirror": "URL",
    "purpose": "exact|speed",
}  # fmt: skip
"""Word that stands for a value, by the parameter's name; one that the parameter has itself goes first."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "list": ("tune-qat list studies", "tune-qat list optimizers --json"),
    "init": (
        "tune-qat init study.toml",
        "tune-qat init study.toml --model lenet5 --dataset digits --bits 4/4",
    ),
    "plan": ("tune-qat plan quickstart", "tune-qat plan lenet5_mnist --data-dir data --results results"),
    "check": ("tune-qat check lenet5_mnist --data-dir data",),
    "run": (
        "tune-qat run quickstart",
        "tune-qat run study.toml --data-dir data --time-budget 8h",
        "tune-qat run study.toml --trials 20 --set space.learning_rate.low=1e-6",
    ),
    "status": ("tune-qat status results",),
    "report": ("tune-qat report results -o report.html", "tune-qat report results --live"),
    "show": ("tune-qat show results",),
    "query": (
        "tune-qat query results leaderboard",
        'tune-qat query results "SELECT optimizer, val_metric FROM trials"',
        "tune-qat query --list",
    ),
    "cost": ("tune-qat cost results", "tune-qat cost results --data-dir data"),
    "export": (
        "tune-qat export results --best -o model.onnx",
        "tune-qat export results 3fa9c1 -o state.pt",
        "tune-qat export results --for speed -o fast.onnx --benchmark",
    ),
    "export-runs": (
        "tune-qat export-runs results --to tensorboard --out runs",
        "tune-qat export-runs results --to optuna --out optuna.log",
    ),
    "edges": ("tune-qat edges results",),
    "widen": ("tune-qat widen results -o wide.toml", "tune-qat widen results --learning-rate 1e-5:1"),
    "rerun": ("tune-qat rerun results 3fa9c1",),
    "simulate": ("tune-qat simulate results --compare", "tune-qat simulate quickstart --time-budget 8h"),
    "train": (
        "tune-qat train --model lenet5 --dataset digits --save model.pt",
        "tune-qat train --model lenet5 --dataset digits --weight-bits 2",
    ),
    "schema": ("tune-qat schema",),
    "doctor": ("tune-qat doctor lenet5_mnist --data-dir data",),
    "launch": ("tune-qat launch lenet5_mnist --on slurm --results /shared/results -o job.sh",),
    "compact": ("tune-qat compact results",),
    "import": (
        "tune-qat import optuna sqlite:///study.db --study mine",
        "tune-qat import ray-tune ray_results/mine",
    ),
    "data": ("tune-qat data list", "tune-qat data fetch mnist --data-dir data"),
    "data list": ("tune-qat data list --data-dir data",),
    "data fetch": (
        "tune-qat data fetch mnist --data-dir data",
        "tune-qat data fetch div2k --yes --mirror https://example.org/data",
    ),
    "data verify": ("tune-qat data verify mnist --data-dir data",),
    "import optuna": ("tune-qat import optuna sqlite:///study.db --study mine",),
    "import ray-tune": ("tune-qat import ray-tune ray_results/mine --metric val_accuracy",),
}
"""Command lines that can be typed as they are, by the command that they show, as it is typed after `tune-qat`."""


def epilog(command: str, own: str | None) -> str | None:
    """Return the end of a command's help: its examples, and under them what it says of itself."""
    lines = EXAMPLES.get(command, ())
    shown = "\n".join(["\b", "Examples:" if len(lines) > 1 else "Example:", *(f"  {line}" for line in lines)])
    return "\n\n".join(filter(None, [shown if lines else None, own])) or None


def ordered(commands: list[str]) -> dict[str, list[str]]:
    """Return the commands by group, in the order of a reader; those of no group come last."""
    groups = {title: [name for name in names if name in commands] for title, names in GROUPS.items()}
    known = {name for names in groups.values() for name in names}
    groups["Commands"] = [name for name in commands if name not in known]
    return {title: names for title, names in groups.items() if names}
