"""A made-up study of a few hundred trials whose truth is known, for tests of figures and of the page.

Its workload is called synthetic, so that its page says so. `adam` is best, `sgd` loses the most to quantization,
`sgd_agc` diverges at high learning rates and with one of its retrain seeds.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers.rows import filled, write

OPTIMIZERS = ("adam", "lion", "nesterov", "sgd", "sgd_agc")
CENTRES = {"adam": 1e-3, "lion": 1e-4, "nesterov": 3e-2, "sgd": 1e-1, "sgd_agc": 1e-1}
LOSSES = {"adam": 0.01, "lion": 0.02, "nesterov": 0.03, "sgd": 0.06, "sgd_agc": 0.05}
"""What four bits cost, in accuracy."""
EPOCHS, RUNGS, START = 9, (1, 3), "a" * 64


class SyntheticStudy:
    """Writes the record at once, a file for each table."""

    def __init__(
        self,
        results: Path,
        name: str = "made_up",
        *,
        sign: int = 1,
        bits: tuple[int, ...] = (32, 4),
        optimizers: tuple[str, ...] = OPTIMIZERS,
        random: int = 12,
        search: int = 12,
        seeds: int = 5,
        mode: str = "comparison",
        complete: bool = True,
        workload: str = "synthetic-curves",
    ) -> None:
        self.results, self.name, self.sign, self.mode = results, name, sign, mode
        self.stages = {"default": 1, "random": random, "search": search, "retrain": seeds}
        self.workload, self.complete = workload, complete
        self.random = np.random.default_rng(0)
        self.rows: dict[str, list[dict[str, Any]]] = {
            table: [] for table in ("arms", "trials", "epochs", "layers", "costs")
        }
        for width in bits:
            self._costs(width)
            if mode == "joint":
                self._arm(None, width, optimizers)
            else:
                for optimizer in optimizers:
                    self._arm(optimizer, width, (optimizer,))
        for table, rows in self.rows.items():
            write(results, name, table, "all", *rows)
        write(results, name, "studies", "study", self._study())

    def _study(self) -> dict[str, Any]:
        definition = {"name": self.name, "pretrain": {"optimizer": "adam", "epochs": 70}}
        known = {"mode": self.mode, "complete": self.complete, "schema_version": 1, "command": "made up"}
        return filled("studies", definition_json=json.dumps(definition), **known)

    def _arm(self, optimizer: str | None, bits: int, optimizers: tuple[str, ...]) -> None:
        arm_id = f"{optimizer or 'joint'}-w{bits}a{bits}"
        space = {
            name: {
                "learning_rate": {"low": CENTRES[name] / 100, "high": CENTRES[name] * 100, "log": True},
                "batch_size": {"low": 8, "high": 64},
            }
            for name in optimizers
        }
        arm = filled(
            "arms", arm_id=arm_id, optimizer=optimizer, mode=self.mode, workload=self.workload, model="made_up",
            dataset="synthetic", task="classification", metric="accuracy" if self.sign > 0 else "error",
            unit="fraction", sign=self.sign, trivial_score=self._score(0.1), trivial_test_score=self._score(0.11),
            margin=0.01, weight_bits=bits, activation_bits=bits, method=None,
            quantizer="none" if bits == 32 else "lsq", ste="clip_then_round", first_last_bits=8, repeat=0,
            init="pretrain", init_checkpoint_sha256=START, n_train=10_000, n_val=1_000, n_test=2_000,
            max_epochs=EPOCHS, grace_epochs=1, reduction_factor=3.0, recipe_hashes_json=None,
            space_json=json.dumps(space), best_config_id=f"{arm_id}-best", **{"activation_quantizer": None},
            **{f"planned_{stage}": count for stage, count in self.stages.items()},
        )  # fmt: skip
        self.rows["arms"].append(arm)
        best: tuple[float, float, int, str] = (-1.0, 0.0, 8, "adam")
        for stage in ("default", "random", "search"):
            for number in range(self.stages[stage]):
                name = optimizers[number % len(optimizers)]
                rate = CENTRES[name] * (1.0 if stage == "default" else 10 ** self.random.uniform(-2, 2))
                size = 32 if stage == "default" else int(2 ** self.random.integers(3, 7))
                found = self._trial(arm, stage, number, name, rate, size, seed=0)
                best = max(best, (found, rate, size, name))
        for seed in range(self.stages["retrain"]):
            self._trial(arm, "retrain", seed, best[3], best[1], best[2], seed=seed)

    def _trial(
        self, arm: dict[str, Any], stage: str, number: int, optimizer: str, rate: float, size: int, seed: int
    ) -> float:
        """Rows of a trial; the accuracy it ends with, 0 where it diverged or was stopped."""
        bits, key = arm["weight_bits"], f"{arm['arm_id']}-{stage}-{number:03}"
        # The best learning rate grows with the square root of the batch size.
        away = math.log10(rate / CENTRES[optimizer]) - 0.5 * math.log10(size / 32)
        final = 0.95 * math.exp(-away * away / 4) - (LOSSES[optimizer] if bits < 32 else 0.0)
        final = min(0.99, max(0.05, final + 0.005 * self.random.standard_normal()))
        wild = optimizer == "sgd_agc" and bits < 32
        diverged = (wild and stage == "retrain" and seed == 1) or (away > 1.2 and stage != "retrain")
        stopped = stage == "search" and not diverged and number % 3 == 2
        run = 2 if diverged else 1 if stopped else EPOCHS
        status = "diverged" if diverged else "stopped" if stopped else "completed"
        done = status == "completed"
        curve = [final * (1 - math.exp(-epoch / 2)) for epoch in range(1, run + 1)]
        scheme = {"ste": "clip_then_round", "first_last_bits": 8}
        values = {"optimizer": optimizer, "learning_rate": rate, "batch_size": size, "scheme": scheme}
        trial = filled(
            "trials", trial_key=key, arm_id=arm["arm_id"], stage=stage, trial_number=number,
            config_id=f"{arm['arm_id']}-best" if stage == "retrain" else key, workload=arm["workload"],
            model=arm["model"], dataset=arm["dataset"], optimizer=optimizer, quantizer=arm["quantizer"],
            weight_bits=bits, activation_bits=bits, learning_rate=rate, batch_size=size, epochs=EPOCHS, seed=seed,
            params_json=json.dumps(values), init_checkpoint_sha256=START, status=status,
            stop_reason="asha" if stopped else None, rung=1 if stopped else None, epochs_run=run,
            steps_run=run * 10_000 // size, examples_seen=run * 10_000,
            val_metric=self._score(curve[-1]) if not diverged else None,
            val_metric_best=self._score(max(curve)) if not diverged else None,
            test_metric=self._score(curve[-1] - 0.01) if done and stage == "retrain" else None,
            diverged_at_step=600 if diverged else None, wall_s=2.0 * run, device_s=2.5 * run, test_n=2_000,
            device="AMD EPYC", torch_version="2.11", ray_version="2.60", optuna_version="5.0",
            python_version="3.11.7", threads=1, backend="eager", precision="float32", n_restarts=0,
        )  # fmt: skip
        self.rows["trials"].append(trial)
        for epoch, value in enumerate(curve, start=1):
            bad = diverged and epoch == run
            self.rows["epochs"].append(
                filled(
                    "epochs", trial_key=key, attempt=1, epoch=epoch, status=status if epoch == run else "running",
                    step=epoch * 10_000 // size, examples=epoch * 10_000, learning_rate=rate / epoch,
                    train_loss=None if bad else 2.3 - value, train_metric=None if bad else self._score(value + 0.01),
                    val_loss=None if bad else 2.3 - value, val_metric=None if bad else self._score(value),
                    wall_s=2.0 * epoch, device_s=2.5 * epoch,
                )
            )  # fmt: skip
            if bits < 32 and not bad:
                self._layers(key, epoch, bits)
        return final if done else 0.0

    def _costs(self, bits: int) -> None:
        for index, layer in enumerate(("conv1", "conv2", "fc")):
            self.rows["costs"].append(
                filled(
                    "costs", method="none" if bits == 32 else "lsq", weight_bits=bits, activation_bits=bits,
                    layer=layer,
                    layer_index=index, type="Conv2d", weight_width=bits, input_width=bits, parameters=100, macs=1000,
                    weight_bytes=100 * bits // 8, stored_bytes=100 * bits // 8, activation_bytes=10 * bits,
                    bit_operations=1000 * bits * bits,
                )
            )  # fmt: skip

    def _layers(self, key: str, epoch: int, bits: int) -> None:
        for index, layer in enumerate(("conv1", "conv2", "fc")):
            for kind in ("weight", "activation"):
                known = {"trial_key": key, "attempt": 1, "epoch": epoch, "layer": layer, "layer_index": index}
                oscillation = 0.004 * index * epoch / EPOCHS if kind == "weight" else None
                self.rows["layers"].append(
                    filled(
                        "layers", kind=kind, bits=8 if layer != "conv2" else bits, numel=100,
                        step_size=0.1 / (1 + index) * (1 + 0.02 * epoch), step_size_init=0.1 / (1 + index),
                        oscillation_frequency=oscillation,
                        oscillating_fraction=None if oscillation is None else min(1.0, 20 * oscillation), **known,
                    )
                )  # fmt: skip

    def _score(self, accuracy: float) -> float:
        return accuracy if self.sign > 0 else 1 - accuracy
