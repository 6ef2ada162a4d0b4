"""Copies of a ledger: made while it is written, checked because they come from elsewhere, merged."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from filterworks.batch.ledger import Ledger
from filterworks.errors import JobError, LedgerError


def snapshot(ledger: Path, copy: Path) -> None:
    """Write the state of a ledger into a file of its own, without the runs: a lock tells of those."""
    try:
        with closing(sqlite3.connect(ledger, timeout=30)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
            with target:
                target.execute("DELETE FROM runs")
    except sqlite3.Error as error:
        raise LedgerError(f"{ledger}: the ledger cannot be copied: {error}") from None


def check(copy: Path, shown: str) -> None:
    """Refuse a file that is no ledger: whoever may write to a store may have put anything there.

    Raises
    ------
    JobError
        If it is none, or comes from another version.
    """
    try:
        with closing(sqlite3.connect(copy)) as connection:
            connection.execute("PRAGMA trusted_schema=OFF")
            found = dict(connection.execute("SELECT name, type FROM sqlite_schema"))
        with Ledger(copy.parent, create=False, shown=shown):
            pass
    except sqlite3.Error:
        found = {}
    except JobError as error:
        raise JobError([problem.replace(str(copy), shown) for problem in error.problems]) from None
    tables = {"results", "runs", "objects", "lineage"}
    if not tables <= found.keys() or not set(found.values()) <= {"table", "index"}:
        raise JobError([f"{shown}: is not a ledger of filterworks; remove it, or choose another OUT"])


def lineage(ledger: Path) -> str | None:
    """Return what all copies of one ledger have in common, or None where there is no ledger."""
    if not ledger.exists():
        return None
    try:
        with closing(sqlite3.connect(ledger, timeout=30)) as connection:
            row = connection.execute("SELECT id FROM lineage").fetchone()
    except sqlite3.Error:
        return None
    return str(row[0]) if row else None


def merge(ledger: Path, other: Path) -> None:
    """Bring into a ledger what another one of its lineage knows better: of each result the later record.

    Two machines may have worked in turns, and one may have died before it could hand on its copy.
    """
    try:
        with closing(sqlite3.connect(ledger, timeout=30, isolation_level=None)) as connection:
            connection.execute("PRAGMA trusted_schema=OFF")
            connection.execute("ATTACH ? AS other", (str(other),))
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "CREATE TEMP TABLE later AS SELECT o.output FROM other.results o "
                "LEFT JOIN main.results m ON m.output = o.output "
                "WHERE m.output IS NULL OR m.finished_at < o.finished_at"
            )
            for table, which in (
                ("results", "output IN later"),
                ("objects", "output IN later OR output NOT IN (SELECT output FROM main.objects)"),
            ):
                known = _columns(connection, "main", table) & _columns(connection, "other", table)
                columns = ", ".join(sorted(known))
                connection.execute(
                    f"INSERT OR REPLACE INTO main.{table} ({columns}) "  # noqa: S608  # our own names
                    f"SELECT {columns} FROM other.{table} WHERE {which}"
                )
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise LedgerError(f"{ledger}: the ledger cannot be brought up to date: {error}") from None


def _columns(connection: sqlite3.Connection, database: str, table: str) -> set[str]:
    rows = connection.execute("SELECT name FROM pragma_table_info(?, ?)", (table, database))
    return {f'"{row[0]}"' for row in rows if str(row[0]).isidentifier()}
