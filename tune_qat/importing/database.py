"""Databases of other machines: whether one answers at all."""

import threading
from typing import TYPE_CHECKING

from tune_qat.config import TuneQatError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

ANSWER_S = 30.0
"""Seconds that a database may take to connect."""


def check_answers(url: "URL") -> None:
    """Raise `TuneQatError` where a database takes longer to connect than is waited, or the driver's error.

    In a thread, which is left behind: drivers have no option for this in common, and some wait for ever.
    """
    from sqlalchemy import create_engine

    refused: list[Exception] = []

    def connect() -> None:
        try:
            engine = create_engine(url)
            engine.connect().close()
            engine.dispose()
        except Exception as error:
            refused.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(ANSWER_S)
    if refused:
        raise refused[0]
    if thread.is_alive():
        raise TuneQatError(
            f"{url.host or 'The database'} does not answer: no connection within {ANSWER_S:g} s. Check host and port, "
            "and that this machine may reach them."
        )
