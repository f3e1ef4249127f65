"""The manifest for KubeRay, against the fields and types of its CRD, and what Kubernetes refuses elsewhere."""

import json
import shlex
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.launch.requests import NASTY, STUDY_TOML, request
from tune_qat.config import UsageError
from tune_qat.launch import launch
from tune_qat.launch.kuberay import manifest
from tune_qat.launch.request import Request, Trials, Where, job_name

WHERE = Where(image="registry:5000/tune-qat:1.0", claim="rwx", namespace="ml", service_account="trainer")
SCHEMA = json.loads((Path(__file__).parent / "rayjob_schema.json").read_text())


def documents(one: Request, where: Where = WHERE) -> tuple[dict[str, Any], dict[str, Any]]:
    study, job = yaml.safe_load_all(manifest(one, where))
    return study, job


@pytest.mark.parametrize(
    ("one", "where"),
    [
        (request(), Where(image="i")),
        (request(nodes=1), Where(image="i")),
        (request(results="/shared/r", study_toml=STUDY_TOML), WHERE),
        (request(gpus_per_node=2, memory_per_node=32, seconds=7_200.4), WHERE),
    ],
    ids=["plain", "one-node", "own-study", "everything"],
)
def test_is_what_the_crd_allows(one: Request, where: Where) -> None:
    one = one if where is not WHERE else request(results="/shared/r", **{
        name: getattr(one, name) for name in ("study_toml", "gpus_per_node", "memory_per_node", "seconds")
    })  # fmt: skip
    study, job = documents(one, where)
    jsonschema.validate(job, SCHEMA)
    assert study["metadata"]["name"] == "small-study"
    assert all(isinstance(value, str) for value in study["data"].values())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "backofLimit"), 3),
        (("spec", "backoffLimit"), "3"),
        (("spec", "rayClusterSpec", "authOptions", "mode"), "on"),
        (("spec", "rayClusterSpec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("spec", "rayClusterSpec", "headGroupSpec", "template", "spec", "container"), []),
    ],
)
def test_the_schema_refuses_what_the_crd_does(path: tuple[str, ...], value: Any) -> None:
    _, job = documents(request(), Where(image="i"))
    *parents, last = path
    at = job
    for name in parents:
        at = at[name]
    at[last] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(job, SCHEMA)


def test_what_ray_needs_is_there() -> None:
    one = request(
        gpus_per_node=4, memory_per_node=64, seconds=3_600, nodes=3, results="/shared/r", study_toml=STUDY_TOML
    )
    study, job = documents(one)
    spec = job["spec"]
    cluster = spec["rayClusterSpec"]
    head, (worker,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert head["rayStartParams"] == {"num-cpus": "0", "num-gpus": "0"}
    assert (worker["replicas"], worker["minReplicas"], worker["maxReplicas"]) == (1, 1, 3)
    assert cluster["enableInTreeAutoscaling"] is True
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"], spec["shutdownAfterJobFinishes"]) == (3, 3_600, True)
    # A submission id of its own for each attempt: the operator makes one where none is named.
    assert "jobId" not in spec
    (container,) = worker["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"cpu": "4", "memory": "64Gi", "nvidia.com/gpu": "4"}
    for group in (head, worker):
        pod = group["template"]["spec"]
        assert {"name": "shared", "persistentVolumeClaim": {"claimName": "rwx"}} in pod["volumes"]
        assert {"name": "shared", "mountPath": "/shared"} in pod["containers"][0]["volumeMounts"]
        assert pod["serviceAccountName"] == "trainer"
        assert pod["containers"][0]["env"] == [{"name": "RAY_USAGE_STATS_ENABLED", "value": "0"}]
    assert "--max-concurrent 8 --no-progress" in study["data"]["run.sh"]
    assert {study["metadata"]["namespace"], job["metadata"]["namespace"]} == {"ml"}


def test_the_file_names_the_command_that_also_runs_a_job_again() -> None:
    # `kubectl apply` of a RayJob that has ended changes nothing, and nothing runs.
    written = launch("kuberay", request(), Where(image="i"))
    ((*words, last),) = written.commands
    assert words[:3] == ["kubectl", "replace", "--force"] and last == "-" and written.reads_text
    assert f"# Submit with: {shlex.join(words)} FILE\n" in written.text


@pytest.mark.parametrize(("seconds", "said"), [(None, False), (3_600, True)])
def test_the_file_says_that_no_attempt_follows_the_time_limit(seconds: float | None, said: bool) -> None:
    text = manifest(request(seconds=seconds), Where(image="i"))
    assert ("activeDeadlineSeconds (--time) ends the job, and none follows it" in text) == said
    assert ("activeDeadlineSeconds: 3600" in text) == said


def test_nothing_given_breaks_out() -> None:
    text = 'a = "\\u0000 TUNE: {} - | \\" "\nb = "é"\n'
    one = request(study_toml=text, overrides=(NASTY,), results=f"s3://b/{NASTY}", data_dir=f"/{NASTY}")
    study, job = documents(one)
    words = shlex.split(study["data"]["run.sh"])
    assert words[words.index("--set") + 1] == NASTY
    assert words[words.index("--results") + 1] == f"s3://b/{NASTY}"
    assert words[words.index("--data-dir") + 1] == f"/{NASTY}"
    assert study["data"]["study.toml"] == text
    assert tomllib.loads(text)["b"] == "é"
    # The operator puts this into a shell script as it is.
    assert job["spec"]["entrypoint"] == "bash /etc/tune-qat/run.sh"


@pytest.mark.parametrize(
    ("one", "where", "part"),
    [
        (request(), Where(), "needs --image, --nodes and --cpus-per-node"),
        (request(cpus_per_node=None), Where(image="i"), "needs --image, --nodes and --cpus-per-node"),
        (request(results="/shared/r"), Where(image="i"), "pods share no folder"),
        (request(results="/data/r"), WHERE, "what the pods share is mounted at /shared"),
        (request(results="/shared"), WHERE, "Give a folder below it"),
        (request(results="/shared/../r"), WHERE, "each node of a cluster would take this"),
        (request(), Where(image="i\n"), "--image takes letters"),
        (request(), Where(image="i", namespace="Ml"), "--namespace takes a name that Kubernetes allows"),
        (request(results="/shared/r"), Where(image="i", claim="a_b"), "--claim takes a name"),
        (request(), Where(image="i", service_account="-a"), "--service-account takes a name"),
    ],
)
def test_what_kubernetes_cannot_have_is_refused(one: Request, where: Where, part: str) -> None:
    with pytest.raises(UsageError) as caught:
        manifest(one, where)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("given", "study", "name"),
    [
        (None, "ESPCN_w4.a4", "espcn-w4-a4"),
        (None, "2026", "study-2026"),
        (None, "_x_", "x"),
        (None, "___", "study"),
        ("own-1", "x", "own-1"),
    ],
)
def test_a_job_has_a_name_that_every_target_takes(given: str | None, study: str, name: str) -> None:
    assert job_name(given, study) == name


@pytest.mark.parametrize("given", ["A", "1a", "a_b", "a-", "a" * 48, "a.b", "a\n", ""])
def test_another_name_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match="--name must be"):
        job_name(given, "y" * 48)


def test_a_value_of_two_lines_is_refused() -> None:
    with pytest.raises(UsageError, match="one line of printable"):
        request(overrides=("a=1\nb",))
    assert request(trials=Trials(cpus=1.0, gpus=None, concurrent=None)).run_options()[-1] == "--no-progress"
