"""Kubernetes target: a RayJob for the KubeRay operator (1.5.1 or newer, which know `authOptions`)."""

import shlex
from importlib.metadata import version
from typing import Any

from tune_qat.config import UsageError
from tune_qat.config.secrets import hide_secrets
from tune_qat.launch.request import Request, Where, check_object, check_shared, check_word, is_uri
from tune_qat.launch.yaml_text import yaml_text

SHARED = "/shared"
"""Folder at which every pod mounts the volume claim."""
STUDY_FOLDER = "/etc/tune-qat"
HEAD = {"cpu": "2", "memory": "8Gi"}
"""Resources of the head pod. It runs the driver, which decodes the data and writes the record but trains nothing."""
ATTEMPTS = 4
SUBMIT = ["kubectl", "replace", "--force", "--cascade=foreground", "-f"]
"""Command that submits a file, for the first time and again: what is left of the job's last run is removed before."""
HEADER = f"""\
# Submit with: {shlex.join(SUBMIT)} FILE
# The operator makes a Ray cluster, runs the study on it, and takes it down again. If an attempt fails, the next one has
# its own cluster and submission id, and continues with what is not recorded yet.
# The same command continues a study later. It removes the RayJob, which stays when it has ended, and stops it if it
# still runs; `kubectl apply` would find nothing to change, and do nothing.
"""
DEADLINE = """\
# An attempt that takes longer than activeDeadlineSeconds (--time) ends the job, and none follows it: submit it again.
"""


def manifest(request: Request, where: Where) -> str:
    """Return the manifest: a ConfigMap with the study and its command, and the RayJob.

    Raises:
        UsageError: a missing option, a name that Kubernetes does not allow, results outside the pods' shared storage.
    """
    if where.image is None or request.nodes is None or request.cpus_per_node is None:
        raise UsageError("--on kuberay needs --image, --nodes and --cpus-per-node.")
    check_word("--image", where.image)
    for option, value in (
        ("--claim", where.claim),
        ("--namespace", where.namespace),
        ("--service-account", where.service_account),
    ):
        check_object(option, value)
    if where.claim is None and not is_uri(request.results):
        raise UsageError(
            f"--results {hide_secrets(request.results)}: pods share no folder. Name a volume claim that many nodes may "
            f"write to (--claim NAME, mounted at {SHARED}), or use object storage (s3://bucket/folder, gs://bucket/folder)."
        )
    check_shared("--results", request.results, below=SHARED if where.claim else None)
    of = {"namespace": where.namespace} if where.namespace else {}
    space = request.space if request.study_toml is None else f"{STUDY_FOLDER}/study.toml"
    files = {"run.sh": request.run_file(space)}
    if request.study_toml is not None:
        files["study.toml"] = request.study_toml
    study = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": _config_map(request), **of},
        "data": files,
    }
    job = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": request.name, **of},
        "spec": _job(request, _cluster(request, where)),
    }
    return HEADER + ("" if request.seconds is None else DEADLINE) + yaml_text(study, job)


def afterwards(request: Request) -> str:
    """Return what to know of a submitted job: how the study goes on when it has ended."""
    late = "" if request.seconds is None else " An attempt that reaches the time limit (--time) is its last."
    return f"The RayJob {request.name} stays when it has ended: submit it again to continue the study.{late}"


def _job(request: Request, cluster: dict[str, Any]) -> dict[str, Any]:
    deadline = {} if request.seconds is None else {"activeDeadlineSeconds": round(request.seconds)}
    return {
        # The command is in a file: the operator copies the entrypoint into a script unquoted, and Ray quotes no words.
        "entrypoint": f"bash {STUDY_FOLDER}/run.sh",
        "submissionMode": "K8sJobMode",
        "backoffLimit": ATTEMPTS - 1,
        **deadline,
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": 600,
        "rayClusterSpec": cluster,
    }


def _config_map(request: Request) -> str:
    return f"{request.name}-study"


def _cluster(request: Request, where: Where) -> dict[str, Any]:
    memory = {"memory": f"{request.memory_per_node}Gi"} if request.memory_per_node else {}
    gpus = {"nvidia.com/gpu": str(request.gpus_per_node)} if request.gpus_per_node else {}
    worker = {"cpu": str(request.cpus_per_node), **memory, **gpus}
    assert request.nodes is not None
    return {
        "rayVersion": version("ray"),
        # The operator makes a secret with a token and gives it to every pod.
        "authOptions": {"mode": "token"},
        "enableInTreeAutoscaling": request.nodes > 1,
        "headGroupSpec": {
            # No trials run beside the driver.
            "rayStartParams": {"num-cpus": "0", "num-gpus": "0"},
            "template": _pod("ray-head", HEAD, where, _config_map(request)),
        },
        "workerGroupSpecs": [
            {
                "groupName": "trials",
                # One worker at first tells Ray a node's resources; --max-concurrent makes the autoscaler add more.
                "replicas": 1,
                "minReplicas": 1,
                "maxReplicas": request.nodes,
                "rayStartParams": {},
                "template": _pod("ray-worker", worker, where, None),
            }
        ],
    }


def _pod(name: str, resources: dict[str, str], where: Where, config_map: str | None) -> dict[str, Any]:
    volumes: list[dict[str, Any]] = []
    mounts: list[dict[str, Any]] = []
    if where.claim:
        volumes.append({"name": "shared", "persistentVolumeClaim": {"claimName": where.claim}})
        mounts.append({"name": "shared", "mountPath": SHARED})
    if config_map:
        volumes.append({"name": "study", "configMap": {"name": config_map}})
        mounts.append({"name": "study", "mountPath": STUDY_FOLDER, "readOnly": True})
    container = {
        "name": name,
        "image": where.image,
        "env": [{"name": "RAY_USAGE_STATS_ENABLED", "value": "0"}],
        "resources": {"requests": resources, "limits": resources},
    }
    return {
        "spec": {
            **({"serviceAccountName": where.service_account} if where.service_account else {}),
            "terminationGracePeriodSeconds": 60,
            "containers": [container | ({"volumeMounts": mounts} if mounts else {})],
            **({"volumes": volumes} if volumes else {}),
        }
    }
