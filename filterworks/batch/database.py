"""An SQLite file whose every change is on the disk or not made at all, with errors for people."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from filterworks.errors import JobError, LedgerError, NoSpaceError

NAME = ".filterworks.sqlite"
_VERSION = 2
_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


def to_sql(path: str) -> str | bytes:
    """Return a path as SQLite can hold it: text, or bytes where the name is not valid Unicode."""
    if path.isascii():
        return path
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def from_sql(value: str | bytes) -> str:
    """Return the path that :func:`to_sql` stored."""
    return os.fsdecode(value) if isinstance(value, bytes) else value


class Database:
    """The database of one output folder.

    Parameters
    ----------
    folder
        Where the results lie; the database is the file `NAME` in it.
    create
        Whether to make it; otherwise a missing one reads as empty and is not written.
    shown
        What people call the place of the results, where it is not the folder.

    Raises
    ------
    JobError
        If the file is not a ledger, or comes from another version.
    """

    # What makes its tables.
    schema = ""

    def __init__(self, folder: Path, *, create: bool, shown: str | None = None) -> None:
        self.path, self.shown = folder / NAME, shown or str(folder)
        self._connection: sqlite3.Connection | None = None
        if not create and not os.path.exists(self.path):  # noqa: PTH110  # a folder out of reach has none
            return
        if create and not os.access(folder, os.W_OK | os.X_OK):
            raise JobError([f"{folder}: cannot be written: {_refusal(folder)}"])
        try:
            # A reader too must be able to roll back what a killed run left half-committed.
            address = f"{self.path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
            self._connection = sqlite3.connect(address, uri=True, timeout=30, isolation_level=None)
            query = "SELECT user_version, NOT EXISTS (SELECT 1 FROM sqlite_schema) FROM pragma_user_version"
            version, is_empty = self._connection.execute(query).fetchone()
            if version != _VERSION and not (version == 0 and is_empty):
                raise JobError([self._stranger(version)])
            if create:
                # All or nothing: a run that is killed in between leaves an empty file.
                self._connection.executescript(
                    f"BEGIN IMMEDIATE; {self.schema} PRAGMA user_version={_VERSION}; COMMIT;"
                )
            elif is_empty:
                self.close()
            else:
                self._connection.execute("PRAGMA query_only=1")
        except sqlite3.Error as error:
            raise JobError([str(self._broken(error))]) from None

    def _stranger(self, version: int) -> str:
        if version == 0:
            return f"{self.path}: is not a ledger of filterworks"
        return f"{self.path}: was written by another version of filterworks; use that, or another OUT"

    def _broken(self, error: sqlite3.Error) -> LedgerError:
        code = getattr(error, "sqlite_errorcode", None)
        advice = "; move it away, and what it knew is made again with --overwrite" if code in _DAMAGED else ""
        kind = NoSpaceError if code == sqlite3.SQLITE_FULL else LedgerError
        return kind(f"{self.path}: the ledger cannot be used: {error}{advice}")

    @property
    def exists(self) -> bool:
        """Whether anything has been recorded here."""
        return self._connection is not None

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        if self._connection is None:
            return []
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._broken(error) from None

    def _write(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        with self._writing() as connection:
            connection.executemany(statement, rows)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Provide a transaction: all of it is on the disk afterwards, or nothing."""
        assert self._connection is not None  # noqa: S101  # only a created database is written
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                if connection.in_transaction:  # where the disk is full SQLite has done it
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise self._broken(error) from None


def _refusal(folder: Path) -> str:
    """Return why a folder cannot be written."""
    is_fixed = hasattr(os, "statvfs") and os.statvfs(folder).f_flag & os.ST_RDONLY
    return "read-only file system" if is_fixed else "permission denied"
