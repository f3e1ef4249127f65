"""The command about the format of study files: schema."""

import json

from tune_qat.cli.application import app


@app.command()
def schema() -> None:
    """Print the JSON schema of study files.

    For an editor that completes and checks their keys: docs/study_file.md.
    """
    from tune_qat.study.file_schema import file_schema

    print(json.dumps(file_schema(), indent=1))
