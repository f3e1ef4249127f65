"""Scripts that mount: in a mount namespace of their own."""

import os
import shutil
import subprocess

import pytest


def in_namespaces(script: str, *kinds: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script in namespaces of its own, `--mount` if none is named; skip the test where there are none.

    Its exit code 77 says so, too.
    """
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare here")
    own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *own, *(kinds or ("--mount",)), "sh", "-c", script]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no such namespace here: {done.stderr}")
    return done
