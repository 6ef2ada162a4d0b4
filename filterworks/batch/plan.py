"""What a job will do, worked out before anything is written: which input becomes which output."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from filterworks.batch.folders import identity
from filterworks.batch.job import AnyJob
from filterworks.batch.ledger import Record
from filterworks.batch.names import are_one, outside, refused_by_windows
from filterworks.batch.places import LocalPlace, Place
from filterworks.batch.worklist import Item, Worklist
from filterworks.errors import JobError
from filterworks.files import STORE_METADATA, is_store
from filterworks.files.retrying import StoreError
from filterworks.files.urls import is_url

if TYPE_CHECKING:
    from filterworks.batch.remote_place import RemotePlace
    from filterworks.batch.remote_plan import RemoteSource

    AnySource: TypeAlias = "_Source | RemoteSource"

# Problems of one kind that are spelled out before the rest is only counted.
_SHOWN = 10


def make_worklist(job: AnyJob) -> Worklist:
    """Return what the job will do, with every input that is there and every output that may be written.

    Raises
    ------
    JobError
        Inputs are missing or hold none of the kind, the output lies in an input or would replace one, two
        inputs would have one output, or files that no record covers would be replaced.
    """
    try:
        return _planned(job)
    except StoreError as error:
        raise JobError([str(error)]) from None


def _planned(job: AnyJob) -> Worklist:
    sources = [_source(text) for text in job.input.paths]
    problems = [source.problem for source in sources if source.problem]
    if job.run.workers or job.run.scheduler:
        problems += [
            f"{text}: is in this process' memory, which other workers do not share"
            for text in (*job.input.paths, job.output.path)
            if text.startswith("memory://")
        ]
    if problems:
        raise JobError(problems)
    place, target = _where(job, sources)
    worklist = Worklist(place, target)
    problems = _outside_inputs(sources, place, target)
    problems += _fill(worklist, sources, job, problems)
    if not problems and not len(worklist):
        what = ", ".join(job.input.paths)
        problems = [f"{what}: no {job.NOUN} here ({worklist.ignored} other files); {job.accepted()}"]
    problems = problems or _look_alikes(worklist) or _clobbered(worklist, job)
    if problems:
        worklist.close()
        raise JobError(_shortened(problems))
    if job.run.retry_failed:
        with place.reading() as ledger:
            worklist.keep(record.output for record in ledger.failures())
    return worklist


def _source(text: str) -> AnySource:
    if not is_url(text):
        return _Source(text)
    from filterworks.batch.remote_plan import RemoteSource  # only for those who name a store

    return RemoteSource(text)


def _where(job: AnyJob, sources: list[AnySource]) -> tuple[Place, str]:
    """Return where results live, and ``.`` or the name of the single output file."""
    if is_url(job.output.path):
        from filterworks.batch.remote_plan import remote_target

        return remote_target(job, sources)
    folder, target = _target(job, sources, Path(job.output.path))
    return LocalPlace(folder), target


def _shortened(problems: list[str]) -> list[str]:
    more = len(problems) - _SHOWN
    return problems if more <= 0 else [*problems[:_SHOWN], f"… and {more} more of the kind"]


class _Source:
    """One INPUT of the job: a folder, a file, or a glob."""

    def __init__(self, text: str) -> None:
        self.text, self.path = text, Path(text)
        self.problem: str | None = None
        self.is_glob = not os.path.lexists(text) and glob.has_magic(text)
        if self.is_glob:
            if next(_matches(text), None) is None:
                self.problem = f"{text}: no file matches this pattern"
            return
        try:
            self.path.stat()
        except FileNotFoundError:
            dangling = self.path.is_symlink()
            self.problem = f"{text}: " + ("is a link to nothing" if dangling else "no such file or folder")
        except OSError as error:
            self.problem = f"{text}: cannot be read: {error.strerror}"
        except ValueError as error:
            self.problem = f"{text!r}: is no possible path: {error}"

    @cached_property
    def is_file(self) -> bool:
        return not self.is_glob and not _is_folder(self.text)

    def files(self, recursive: bool) -> Iterator[tuple[str, str]]:
        """Yield (path, path in the output) of every file of any kind."""
        if self.is_file:
            yield self.text, self.path.name
        elif not self.is_glob:
            yield from _walk(self.text, recursive)
        else:
            base = _fixed_part(self.text)
            for match in sorted(_matches(self.text)):
                if not _is_folder(match):
                    yield match, os.path.relpath(match, base or ".")
                elif "**" not in self.text:
                    yield from _walk(match, recursive)


def _is_folder(path: str) -> bool:
    """Return whether a path is a folder of inputs or results, not one that is an image itself."""
    return os.path.isdir(path) and not is_store(path)  # noqa: PTH112  # no error on odd paths


def _matches(pattern: str) -> Iterator[str]:
    return glob.iglob(pattern, recursive=True)  # noqa: PTH207  # Path.glob refuses absolute patterns


def _fixed_part(pattern: str) -> str:
    """Return the folders before the first one with a wildcard: the tree below them is kept."""
    parts = Path(pattern).parts
    fixed = []
    for part in parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return str(Path(*fixed)) if fixed else ""


def _walk(folder: str, recursive: bool) -> Iterator[tuple[str, str]]:
    """Yield the files of a folder in order of name, then those of its folders; hidden ones are left out."""
    waiting = [(folder, "")]
    while waiting:
        place, inside = waiting.pop()
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:
            raise JobError([f"{place}: cannot be listed: {error.strerror}"]) from None
        below = []
        for entry in entries:
            name = os.path.join(inside, entry.name)  # noqa: PTH118  # called for every file of a tree
            if entry.name.startswith("."):
                continue
            if not entry.is_dir() or (is_store(entry.name) and not entry.is_symlink()):
                yield entry.path, name
            elif recursive and not entry.is_symlink():
                below.append((entry.path, name))
        waiting += reversed(below)


def _target(job: AnyJob, sources: list[AnySource], out: Path) -> tuple[Path, str]:
    """Return the folder of results, and ``.`` or the name of the single output file."""
    as_folder = job.output.path.endswith(("/", os.sep)) or _is_folder(str(out))
    if len(sources) == 1 and sources[0].is_file and out.suffix and not as_folder:
        if not job.writes(out.name):
            raise JobError([not_written(job, str(out))])
        _check_folder(out.parent)
        return out.parent, out.name
    _check_folder(out)
    return out, "."


def not_written(job: AnyJob, out: str) -> str:
    """Return what to say of a suffix that no result can have."""
    if job.accepts(out):
        return f"{out}: can be read, not written; a result is called {job.result_of(out)}"
    suffix = os.path.splitext(out)[1]  # noqa: PTH122  # also of an address
    return (
        f"{out}: none of the {job.NOUN} has the suffix {suffix}; {job.accepted()} "
        f"(for a folder of that name, write {out}/)"
    )


def _check_folder(folder: Path) -> None:
    """Refuse an output folder that is a file, lies below one, or cannot be reached."""
    for place in (folder, *folder.parents):
        try:
            if place.is_dir():
                return
            if place.exists():
                raise JobError([f"{place}: is a file; results need a folder"])
        except OSError as error:
            raise JobError([f"{place}: cannot be used: {error.strerror}"]) from None
        except ValueError as error:
            raise JobError([f"{str(place)!r}: is no possible path: {error}"]) from None


def _outside_inputs(sources: list[AnySource], where: Place, target: str) -> list[str]:
    """Refuse results inside a folder that is being read."""
    if not isinstance(where, LocalPlace):
        from filterworks.batch.remote_plan import outside_inputs

        return outside_inputs(sources, cast("RemotePlace", where), target)
    folder = where.folder
    place = folder.resolve() if target == "." else folder.resolve() / target
    problems = []
    for source in sources:
        if isinstance(source, _Source) and not source.is_glob and source.path.is_dir():
            base = source.path.resolve()
            # A result with the very name of an input is refused further on.
            if (place == base and not source.is_file) or base in place.parents:
                problems.append(
                    f"{folder if target == '.' else folder / target}: lies inside the input {source.text}; "
                    "choose an output beside it, so that results are never read as inputs"
                )
    return problems


def _fill(worklist: Worklist, sources: list[AnySource], job: AnyJob, problems: list[str]) -> list[str]:
    found: list[str] = []
    if problems:
        return found
    for source in sources:
        for path, inside in source.files(job.input.recursive):
            if source.is_glob and worklist.owns(path):
                continue  # results are never read as inputs
            if not (job.accepts(path) if source.is_file or source.is_glob else job.expects(path)):
                if source.is_file:
                    found.append(f"{path}: none of the {job.NOUN} has this suffix; {job.accepted()}")
                worklist.ignored += 1
                continue
            output = job.result_of(inside) if worklist.target == "." else worklist.target
            if isinstance(source, _Source):
                problem = _add(worklist, path, output)
            else:
                from filterworks.batch.remote_plan import add_remote

                problem = add_remote(worklist, source, path, output)
            if problem:
                found.append(problem)
    return found


def _add(worklist: Worklist, path: str, inside: str) -> str | None:
    output = os.path.normpath(inside)
    if outside(output):
        return f"{path}: its result would lie outside of {worklist.place.shown()}"
    refusal = refused_by_windows(output) if os.name == "nt" else None
    if refusal:
        return f"{path}: its result cannot have its name: {refusal}"
    try:
        size, mtime_ns = identity(path)
    except OSError:
        size, mtime_ns = -1, -1  # reading it will say why, as a failure of this one file
    other = worklist.add(Item(path, output, size, mtime_ns))
    if other is None:
        return None
    place = worklist.place.shown(output)
    return f"{other} and {path} would both become {place}; give them different names or outputs"


def _look_alikes(worklist: Worklist) -> list[str]:
    """Return a sentence for every two outputs that the file system of the results takes for one."""
    problems: list[str] = []
    if worklist.place.is_remote:
        return problems
    for names in worklist.look_alikes():
        for (first, one), (second, other) in combinations(names, 2):
            if are_one(worklist.folder, first, second):
                problems.append(
                    f"{one} and {other} would both become {worklist.folder / first}: this file system takes "
                    "their names for one; give them different names or outputs"
                )
    return problems


def _may_be_replaced(place: Path) -> bool:
    """Return whether a folder holds a Zarr store, or nothing."""
    return any((place / name).is_file() for name in STORE_METADATA) or not any(place.iterdir())


def covers(record: Record | None) -> bool:
    """Return whether the ledger knows of a result that it made itself."""
    return record is not None and record.output_hash is not None


def _clobbered(worklist: Worklist, job: AnyJob) -> list[str]:
    """Return a sentence for every output that would replace an input, a folder or a stranger's file."""
    if not isinstance(worklist.place, LocalPlace):
        from filterworks.batch.remote_plan import clobbered

        return clobbered(worklist, cast("RemotePlace", worklist.place), job)
    problems: list[str] = []
    # Of each folder of results: whether it is inside, and whether it is there at all.
    folders: dict[str, tuple[bool, bool]] = {}
    if not worklist.folder.exists():
        return problems
    with worklist.place.reading() as ledger:
        for item in worklist:
            place = os.path.join(worklist.folder, item.output)  # noqa: PTH118  # called for every file of a tree
            parent = os.path.dirname(place)  # noqa: PTH120  # as above
            if parent not in folders:
                folders[parent] = worklist.target != "." or worklist.owns(parent), os.path.lexists(parent)
            is_inside, is_there = folders[parent]
            if not is_inside:
                problems.append(f"{parent}: is a link that leads out of {worklist.folder}; remove it first")
                continue
            if not is_there or not os.path.lexists(place):
                continue
            if worklist.is_input(os.path.realpath(place)):
                problems.append(f"{place}: is an input; results never replace inputs, choose another output")
            elif os.path.isdir(place) and not (  # noqa: PTH112  # as above
                is_store(item.output) and _may_be_replaced(Path(place))
            ):
                problems.append(f"{place}: is a folder; the result of {item.input} cannot have its name")
            elif not job.output.overwrite and not covers(ledger.find(item.output)):
                problems.append(f"{place}: exists and was not made by filterworks; --overwrite replaces it")
    return problems
