"""Submission of a written file or script to the tool that runs it."""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tune_qat.config import TuneQatError

GET = {
    "ray": "pip install 'tune-qat[cluster]'",
    "kubectl": "https://kubernetes.io/docs/tasks/tools/",
    "sbatch": "it comes with Slurm: log in to a machine of the cluster that submits jobs",
}


def submit(commands: list[list[str]], *, text: str | None, needs: str) -> None:
    """Run the commands one after the other, each with `text` as its standard input unless it is None.

    Raises `TuneQatError` if `needs` is not installed, or a command fails.
    """
    # Without a choice of the user's, `ray up` asks on the terminal whether to report usage statistics.
    environment = {"RAY_USAGE_STATS_ENABLED": "0"} | os.environ
    environment |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    if shutil.which(needs, path=environment["PATH"]) is None:
        raise _missing(needs)
    if needs == "ray" and importlib.util.find_spec("aiohttp") is None:
        raise TuneQatError(f"This Ray has no job server and no cluster launcher. Get them: {GET['ray']}")
    for command in commands:
        ended = subprocess.run(command, input=text, text=True, env=environment, check=False)
        if ended.returncode:
            raise TuneQatError(f"{shlex.join(command)[:200]} failed (status {ended.returncode}); its output is above.")


def _missing(tool: str) -> TuneQatError:
    return TuneQatError(
        f"{tool} is not installed here. Get it: {GET[tool]}\n"
        f"Or write the file (-o FILE, without --submit), and submit it on a machine that has {tool}."
    )
