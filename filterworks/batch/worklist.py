"""The inputs of a job, each with its output and what became of it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filterworks.batch.database import from_sql, to_sql
from filterworks.batch.names import look
from filterworks.batch.places import LocalPlace, Place
from filterworks.files.urls import is_url

# Look-alikes that are tried on the file system; were there more that are one, the second of each would fail.
_TRIED = 100
_SMALL = 64 << 10


@dataclass(frozen=True)
class Item:
    """One input and where its result goes, relative to the output folder."""

    input: str
    output: str
    size: int
    mtime_ns: int
    tag: str = ""

    @property
    def place(self) -> str:
        """What the ledger calls the input: the same from every folder."""
        if is_url(self.input):
            return self.input
        return os.path.abspath(self.input)  # noqa: PTH100  # Path.resolve would follow a link to its target


class Worklist:
    """The items of a job, in a temporary database on disk: memory stays flat for any number of files.

    Attributes
    ----------
    place
        Where results live.
    target
        What a run holds: ``.`` for the folder, or the name of the one output file.
    ignored
        How many files under the inputs have another suffix.
    """

    def __init__(self, place: Place, target: str) -> None:
        self.place, self.target, self.ignored = place, target, 0
        self._folder = ("/", "/")
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("BEGIN")
        self._database.execute(
            "CREATE TABLE items (output TEXT PRIMARY KEY, input TEXT, place TEXT, size INTEGER, "
            "mtime_ns INTEGER, tag TEXT, outcome TEXT, entry TEXT)"
        )

    @property
    def folder(self) -> Path:
        """Where the ledger lies, and what has no name yet; the results too, if they are local."""
        return self.place.folder

    def add(self, item: Item) -> str | None:
        """Add an item; return the other input if two inputs would have one output."""
        located = item.input if is_url(item.input) else self._located(item.input)
        values = (to_sql(item.output), to_sql(item.input), to_sql(located))
        try:
            self._database.execute(
                "INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, NULL, NULL)",
                (*values, item.size, item.mtime_ns, item.tag),
            )
        except sqlite3.IntegrityError:
            row = self._database.execute("SELECT input FROM items WHERE output = ?", values[:1]).fetchone()
            return from_sql(row[0])
        return None

    def _located(self, path: str) -> str:
        """Return ``os.path.realpath(path)``; the links of a folder are followed once for all of its files."""
        if os.path.islink(path):  # noqa: PTH114  # called for every file of a tree
            return os.path.realpath(path)
        name = os.path.basename(path)  # noqa: PTH119  # as above
        folder = path[: len(path) - len(name)]
        if folder != self._folder[0]:
            self._folder = folder, os.path.join(os.path.realpath(folder), "")  # noqa: PTH118  # ends with a separator
        return self._folder[1] + name

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM items").fetchone()[0])

    def are_small(self) -> bool:
        """Whether an input takes less time to read and write than Python takes to deal with it."""
        mean, most = self._database.execute("SELECT avg(size), max(size) FROM items").fetchone()
        return bool(most) and mean <= _SMALL and most <= 16 * _SMALL

    def __iter__(self) -> Iterator[Item]:
        query = "SELECT input, output, size, mtime_ns, tag FROM items ORDER BY rowid"
        for source, output, size, mtime_ns, tag in self._database.execute(query):
            yield Item(from_sql(source), from_sql(output), size, mtime_ns, tag)

    def settle(self, settled: Iterable[tuple[str, str, str]]) -> None:
        """Note what became of items: output, ``done``, ``failed`` or ``skipped``, JSON entry."""
        rows = ((outcome, entry, to_sql(output)) for output, outcome, entry in settled)
        self._database.executemany("UPDATE items SET outcome = ?, entry = ? WHERE output = ?", rows)

    def item(self, output: str) -> Item | None:
        """Return the item with this output, if there is one."""
        query = "SELECT input, size, mtime_ns, tag FROM items WHERE output = ?"
        row = self._database.execute(query, (to_sql(output),)).fetchone()
        return None if row is None else Item(from_sql(row[0]), output, *row[1:])

    def entries(self, outcome: str) -> Iterator[str]:
        """Yield the JSON entries of one outcome, in the order of the items."""
        query = "SELECT entry FROM items WHERE outcome = ? ORDER BY rowid"
        return (row[0] for row in self._database.execute(query, (outcome,)))

    def unsettled(self) -> Iterator[tuple[str, str]]:
        """Yield (input, output) of the items that were not reached."""
        query = "SELECT input, output FROM items WHERE outcome IS NULL ORDER BY rowid"
        return ((from_sql(source), from_sql(output)) for source, output in self._database.execute(query))

    def owns(self, path: str) -> bool:
        """Return whether a path lies in the folder of results."""
        if is_url(path) or not isinstance(self.place, LocalPlace):
            return self.target == "." and path.startswith(f"{self.place.shown()}/")
        return self.target == "." and Path(os.path.realpath(path)).is_relative_to(
            os.path.realpath(self.folder)
        )

    def is_input(self, place: str) -> bool:
        """Return whether a resolved path is one of the inputs."""
        query = "SELECT 1 FROM items WHERE place = ? LIMIT 1"
        return self._database.execute(query, (to_sql(place),)).fetchone() is not None

    def look_alikes(self) -> Iterator[list[tuple[str, str]]]:
        """Yield (output, input) of the items whose outputs some file system would take for one."""
        self._database.create_function("look", 1, look, deterministic=True)
        groups = self._database.execute(
            "SELECT look(output) AS name FROM items GROUP BY name HAVING count(*) > 1 LIMIT ?", (_TRIED,)
        ).fetchall()
        for (name,) in groups:
            rows = self._database.execute("SELECT output, input FROM items WHERE look(output) = ?", (name,))
            yield [(from_sql(output), from_sql(source)) for output, source in rows]

    def keep(self, outputs: Iterable[str]) -> None:
        """Drop the items with other outputs than these."""
        self._database.execute("CREATE TEMP TABLE kept (output PRIMARY KEY)")
        self._database.executemany("INSERT INTO kept VALUES (?)", ((to_sql(output),) for output in outputs))
        self._database.execute("DELETE FROM items WHERE output NOT IN (SELECT output FROM kept)")

    def close(self) -> None:
        """Drop the temporary database."""
        self._database.close()
