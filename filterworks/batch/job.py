"""A job: where from, which chain, where to. Command line and TOML file are two spellings of it."""

from __future__ import annotations

import hashlib
import os
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from filterworks.batch.tasks import Task
from filterworks.errors import JobError, unknown
from filterworks.files.urls import is_url, redacted

# A longer chain (a large kernel) is recorded by its beginning and its hash.
_LONG = 400


def _text(value: object) -> object:
    if not isinstance(value, str) or not value:
        raise ValueError("must be text, not empty")
    return value


_Kind = TypeVar("_Kind", bound="AnyJob")

# Not str to pydantic: the names of files need not be valid Unicode.
Text = Annotated[Any, AfterValidator(_text)]


class _Section(BaseModel):
    # Only the job that is made needs its schema, which holds those of its sections.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class AnyInput(_Section):
    """Where from: folders, files, globs."""

    paths: tuple[Text, ...] = Field(min_length=1, strict=False)
    recursive: bool = True


class AnyOutput(_Section):
    """Where to."""

    path: Text
    overwrite: bool = False


class Run(_Section):
    """How to run.

    Attributes
    ----------
    workers, scheduler
        Processes of a local cluster, or the address of one that runs already; threads without either.
    fail_fast
        Whether to stop at the first input that fails.
    verify
        The share of results to recompute with scipy.
    check
        How an input is known to be the same as last time: ``time`` (its size and time of
        modification) or ``content`` (its hash).
    retry_failed
        Whether to do only what failed last time.
    force
        Whether to make results again although they are intact.
    """

    workers: int | None = Field(default=None, ge=1)
    scheduler: Text | None = None
    fail_fast: bool = False
    verify: float = Field(default=0.0, ge=0.0, le=1.0, strict=False)
    check: Literal["time", "content"] = "time"
    retry_failed: bool = False
    force: bool = False


class AnyJob(_Section, ABC):
    """What the jobs of all kinds have in common.

    Attributes
    ----------
    input, output, run
        The sections of the job file.
    filter
        One table per operation: ``name`` and its parameters.
    NOUN, SUFFIXES
        What the inputs are called, and how their names end.
    IN_PROCESSES
        Whether thousands of small inputs are done by processes rather than by threads.
    """

    NOUN: ClassVar[str]
    SUFFIXES: ClassVar[tuple[str, ...]]
    IN_PROCESSES: ClassVar[bool] = False

    input: AnyInput
    filter: tuple[dict[str, Any], ...] = Field(min_length=1, strict=False)
    output: AnyOutput
    run: Run = Field(default_factory=Run)

    @property
    def is_remote(self) -> bool:
        """Whether inputs or results lie in a store."""
        return any(map(is_url, (*self.input.paths, self.output.path)))

    @property
    @abstractmethod
    def signature(self) -> str:
        """What decides the content of a result besides the input: recorded, compared on the next run."""

    @classmethod
    @abstractmethod
    def filter_problem(cls, table: Mapping[str, Any], tables: Mapping[str, Any]) -> str | None:
        """Return what is wrong with one ``[[filter]]`` of a job."""

    @abstractmethod
    def task(
        self,
        *,
        input: str,
        output: str,
        partial: str,
        known: tuple[int, str] | None,
        content: str | None,
        threads: int,
        is_drawn: bool,
    ) -> Task:
        """Return what a worker is given; `is_drawn`: it belongs to the share to be verified."""

    @property
    @abstractmethod
    def recipe(self) -> dict[str, Any]:
        """The tables of a job that makes the same results: recorded, so that they can be made again."""

    @classmethod
    def accepts(cls, name: str) -> bool:
        """Return whether a file's suffix is one that can be read."""
        return name.lower().endswith(cls.SUFFIXES)

    @classmethod
    def writes(cls, name: str) -> bool:
        """Return whether a result may have this suffix."""
        return cls.accepts(name)

    @classmethod
    def result_of(cls, name: str) -> str:
        """Return what the result of an input is called, unless it is told."""
        return name

    @classmethod
    def expects(cls, name: str) -> bool:
        """Return whether a file that lies in a folder is meant; one that is named need only be read."""
        return cls.accepts(name)

    @classmethod
    def accepted(cls) -> str:
        """Return what to say of the suffixes that can be read."""
        return f"accepted are {' '.join(cls.SUFFIXES)}"


def abridged(chain: str) -> str:
    """Return a chain as the ledger records it."""
    if len(chain) <= _LONG:
        return chain
    return chain[:_LONG] + "… " + hashlib.blake2b(chain.encode(), digest_size=16).hexdigest()


def make_job(tables: Mapping[str, Any], source: str, kind: type[_Kind]) -> _Kind:
    """Return the job that nested tables describe.

    Parameters
    ----------
    tables
        ``input``, ``filter``, ``output`` and ``run`` as in a job file.
    source
        What to call their origin in messages: the file's name, or ``command line``.
    kind
        Of the job: on images or on tables.

    Raises
    ------
    JobError
        With every problem at once.
    """
    problems, job = [], None
    try:
        job = kind.model_validate(dict(tables))
    except ValidationError as error:
        problems = [f"{source}: {_sentence(item, kind)}" for item in error.errors()]
    filters = tables.get("filter")
    for position, table in enumerate(filters if isinstance(filters, list | tuple) else ()):
        problem = kind.filter_problem(table, tables) if isinstance(table, Mapping) else None
        if problem:
            problems.append(f"{source}: [[filter]] {position + 1}: {problem}")
    if problems or job is None:
        raise JobError(problems)
    return job


def _sentence(item: Any, kind: type[AnyJob]) -> str:
    """Return one problem that pydantic found, with its key and what is accepted."""
    place = [str(part) for part in item["loc"]]
    key = f"[{place[0]}]" + (" " + ".".join(place[1:]) if len(place) > 1 else "")
    if item["type"] == "extra_forbidden":
        section: Any = kind.model_fields[place[0]].annotation if len(place) > 1 else kind
        return f"{key}: " + unknown("key", place[-1], section.model_fields)
    if item["type"] == "missing":
        return f"{key}: is missing"
    message = item["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return redacted(f"{key}: {message}" + ("" if "; got " in message else f"; got {item['input']!r}"))


def read_tables(path: Path) -> dict[str, Any]:
    """Return the tables of a job file, its relative paths made relative to the file.

    Raises
    ------
    JobError
        If the file cannot be read or is not TOML.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise JobError([f"{path}: cannot be read: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise JobError([f"{path}: is not TOML: {error}"]) from None
    base = path.parent
    inputs, output = tables.get("input"), tables.get("output")
    if isinstance(inputs, dict) and isinstance(inputs.get("paths"), list):
        inputs["paths"] = [_beside(base, item) for item in inputs["paths"]]
    if isinstance(output, dict) and "path" in output:
        output["path"] = _beside(base, output["path"])
    for table in tables.get("filter", []) if isinstance(tables.get("filter"), list) else []:
        for key in ("path", "template") if isinstance(table, dict) else ():
            if isinstance(table.get(key), str):
                table[key] = _beside(base, table[key])
    return tables


def _beside(base: Path, value: object) -> object:
    """Return a path relative to the job file as people would write it from where they are."""
    if not isinstance(value, str) or not value or is_url(value):
        return value
    place = os.path.normpath(base.resolve() / value)
    here = Path.cwd()
    return str(Path(place).relative_to(here)) if Path(place).is_relative_to(here) else place
