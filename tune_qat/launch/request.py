"""Request to launch a study: its checks, and the command that runs on the cluster."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from tune_qat.config import UsageError
from tune_qat.config.secrets import hide_secrets, may_hold_secret
from tune_qat.launch.shell_text import unpacked

CODE = '"$CODE"'
"""Folder of the own parts on the cluster, as shell code."""
NAME_LENGTH = 47
"""KubeRay's limit for the name of a RayJob; its clusters and pods have this name and a suffix."""
_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
"""Label of RFC 1123 that begins with a letter, as the names of Kubernetes services must (RFC 1035)."""
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,:+/@=-]*")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_URI = re.compile(r"[a-z][a-z0-9+.-]*://.+")
_OF_ONE_MACHINE = ("/tmp", "/var/tmp", "/dev/shm", "/run")
"""Folders that no two machines share."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trials:
    """Resources of each trial, and the number of trials that run at once."""

    cpus: float
    gpus: float | None
    concurrent: int | None
    """None where the cluster's size is not known here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Where:
    """Options that not all targets have; `TARGETS` says which has which."""

    address: str | None = None
    image: str | None = None
    claim: str | None = None
    namespace: str | None = None
    service_account: str | None = None
    partition: str | None = None
    account: str | None = None
    hosts: str | None = None
    user: str | None = None
    venv: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Launch of a study, for any target. `UsageError` unless study, paths and overrides are printable single lines."""

    name: str
    """Name of the job: a label of RFC 1123."""
    space: str
    """A bundled study, or the path of a study file."""
    study_toml: str | None
    """Text of the study file, merged with the files it extends; None for a bundled study, which every node has."""
    results: str
    data_dir: str | None
    overrides: tuple[str, ...]
    search_trials: int | None
    trials: Trials
    nodes: int | None
    cpus_per_node: int | None
    gpus_per_node: int
    memory_per_node: int | None
    """Memory of a node in GiB."""
    seconds: float | None
    """Time limit of an attempt; KubeRay makes none after one that reached it."""
    allow_early_rung: bool = False
    """Whether the run searches although random trials refute ASHA's first rung."""
    code: str | None = None
    """Archive of the own parts' packages, the base64 of a `.tar.gz`; None for a study without own parts."""
    accept_changed_code: bool = False
    """Whether trials of another source of the own parts count."""

    def __post_init__(self) -> None:
        for text in (self.space, self.results, self.data_dir or "", *self.overrides):
            if not text.isprintable():
                shown = hide_secrets(text)
                raise UsageError(f"{shown!r} must be one line of printable characters: it becomes part of a script.")

    def run_options(self) -> list[str]:
        """Return the options of the `tune-qat run` that the cluster executes."""
        trials = self.trials
        given: Mapping[str, object] = {
            "--results": self.results,
            "--data-dir": self.data_dir,
            "--trials": self.search_trials,
            "--cpus-per-trial": f"{trials.cpus:g}",
            "--gpus-per-trial": None if trials.gpus is None else f"{trials.gpus:g}",
            "--max-concurrent": trials.concurrent,
        }
        options = [word for option, value in given.items() if value is not None for word in (option, str(value))]
        sets = [word for override in self.overrides for word in ("--set", override)]
        early = ["--allow-early-rung"] if self.allow_early_rung else []
        early += ["--accept-changed-code"] if self.accept_changed_code else []
        return [*options, *sets, *early, "--no-progress"]

    def run_file(self, space: str) -> str:
        """Return the text of a script that unpacks the own parts, if there are any, and runs the study."""
        command = f"exec {shlex.join(self.run_command(space))}"
        if self.code is None:
            return f"{command}\n"
        return f"CODE=$(mktemp -d)\n{unpacked(CODE, self.code)}{command} --code {CODE}\n"

    def run_command(self, space: str) -> list[str]:
        """Return the complete command for a process inside the cluster; `space` is the study as the cluster sees it."""
        return ["tune-qat", "run", space, "--address", "auto", *self.run_options()]


def job_name(given: str | None, study_name: str) -> str:
    """Return the name of the job: as given, else made from the study's name; `UsageError` if it is not valid."""
    made = re.sub(r"[^a-z0-9]+", "-", study_name.lower()).strip("-")
    name = given or (made if made[:1].isalpha() else f"study-{made}".rstrip("-"))
    if len(name) > NAME_LENGTH or not _LABEL.fullmatch(name):
        raise UsageError(
            f"--name must be lower-case letters, digits and '-', begin with a letter, end with no '-', and have at "
            f"most {NAME_LENGTH} characters, but {'got' if given else 'the study gives'} {name!r}."
        )
    return name


def check_word(option: str, value: str | None) -> None:
    """Raise `UsageError` unless a value has only letters, digits and a few signs: it is written out without quotes."""
    if value is not None and not _WORD.fullmatch(value):
        raise UsageError(f"{option} takes letters, digits and any of _ . , : + / @ = - but got {value!r}.")


def check_object(option: str, value: str | None) -> None:
    """Raise `UsageError` unless a value is a valid name of a Kubernetes object (RFC 1123)."""
    if value is not None and (len(value) > 253 or not _SUBDOMAIN.fullmatch(value)):
        raise UsageError(
            f"{option} takes a name that Kubernetes allows (lower-case letters, digits, '-', '.'), but got {value!r}."
        )


def put_on_path(bin_folder: str) -> str:
    """Return the shell command that puts a folder first on PATH."""
    return f'export PATH={shlex.quote(bin_folder)}:"$PATH"'


def bin_of(venv: str) -> str:
    """Return the programs' folder of the environment that `--venv` names; `UsageError` unless its path is absolute."""
    if not venv.isprintable() or not PurePosixPath(venv).is_absolute():
        raise UsageError(f"--venv takes the absolute path of an environment's folder on the nodes, but got {venv!r}.")
    return str(PurePosixPath(venv) / "bin")


def is_of_one_machine(path: str) -> bool:
    """Return whether a path lies in a folder that every machine has of its own, such as /tmp."""
    return any(PurePosixPath(path).is_relative_to(folder) for folder in _OF_ONE_MACHINE)


def is_uri(results: str) -> bool:
    """Return whether results are in object storage, such as s3://bucket/folder."""
    return bool(_URI.fullmatch(results))


def check_shared(option: str, path: str, *, below: str | None = None) -> None:
    """Raise `UsageError` unless the nodes of a cluster can share a path.

    Args:
        option: the option that the path was given with.
        path: a path, or a URI of object storage.
        below: the only folder that all nodes see, or None if any may be shared.
    """
    shown, use = hide_secrets(path), "object storage (s3://bucket/folder, gs://bucket/folder)"
    if is_uri(path):
        if may_hold_secret(path):
            raise UsageError(
                f"{option} {shown} holds a password, or an option that may be one, which does not belong "
                "in a file. Give it to the nodes by their environment or configuration."
            )
        if path.startswith("file:"):
            raise UsageError(f"{option} {shown}: give a path without file://, which all nodes see, or {use}.")
        return
    parts = PurePosixPath(path)
    if not parts.is_absolute() or ".." in parts.parts:
        raise UsageError(
            f"{option} {shown}: each node of a cluster would take this for another folder. Give the absolute path of a "
            f"folder that all nodes see{f' (below {below})' if below else ''}, or {use}."
        )
    if is_of_one_machine(path):
        raise UsageError(
            f"{option} {shown}: every node has a folder of its own there. Give one that all nodes see, or {use}."
        )
    if below is not None and (not parts.is_relative_to(below) or parts == PurePosixPath(below)):
        raise UsageError(
            f"{option} {shown}: what the pods share is mounted at {below}. Give a folder below it, or {use}."
        )


def trials_at_once(
    *, cpus: float, gpus: float | None, nodes: int | None, cpus_per_node: int | None, gpus_per_node: int
) -> Trials:
    """Return the resources of a trial and how many trials fit on the nodes; without `gpus`, one GPU if nodes have some.

    Raises `UsageError` if a trial does not fit on a node.
    """
    wanted = (1.0 if gpus_per_node else None) if gpus is None else gpus
    if nodes is None or cpus_per_node is None:
        return Trials(cpus=cpus, gpus=wanted, concurrent=None)
    by_cpu, by_gpu = int(cpus_per_node / cpus), int(gpus_per_node / wanted) if wanted else None
    for option, share, have, count in (
        ("--cpus-per-trial", cpus, f"--cpus-per-node {cpus_per_node}", by_cpu),
        ("--gpus-per-trial", wanted or 0, f"--gpus-per-node {gpus_per_node}", by_gpu),
    ):
        if count == 0:
            raise UsageError(f"{option} {share:g} is more than a node has ({have}).")
    return Trials(cpus=cpus, gpus=wanted, concurrent=nodes * min(by_cpu, by_cpu if by_gpu is None else by_gpu))
