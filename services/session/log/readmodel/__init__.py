"""A copy of the log in SQLite for lists and for places in the log that the log cannot find directly.

There is one for each process, and it may be deleted at any time. It follows the logs of the cells some milliseconds
behind; what this process appends is written to it at once, so that a client reads its own writes. No decision is taken
from it, and no session is read from it by id. It is rebuilt from the log when its schema changes, when SQLite cannot
read it, or when the streams are other ones than those it was made from.

Every statement uses an index and takes microseconds, so statements run on the event loop: a thread would cost more.

    tables       the file, its schema, and the rebuild
    projection   commits of the log into rows
    queries      rows for the handlers
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from holdfast.session.log.readmodel.projection import Projection
from holdfast.session.log.readmodel.queries import Queries
from holdfast.session.log.readmodel.tables import Tables


class ReadModel:
    """`path` is a file; None keeps the tables in memory. `cells`: those whose sessions are in it."""

    def __init__(self, path: Path | None, cells: Sequence[str]) -> None:
        self.tables: Final = Tables(path, cells)
        self.projection: Final = Projection(self.tables)
        self.queries: Final = Queries(self.tables)

    def close(self) -> None:
        self.tables.close()
