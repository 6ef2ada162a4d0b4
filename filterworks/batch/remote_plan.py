"""The part of a plan that concerns stores: inputs and outputs that are addresses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from filterworks.batch.carried import is_ours
from filterworks.batch.plan import not_written
from filterworks.batch.remote_place import RemotePlace
from filterworks.errors import JobError
from filterworks.files import is_store
from filterworks.files.retrying import StoreError
from filterworks.files.stores import Identity, store_of
from filterworks.files.trees import grouped, tree_identity
from filterworks.files.urls import Url, fixed_part, is_pattern, matches, parse_url, unsafe

if TYPE_CHECKING:
    from filterworks.batch.job import AnyJob
    from filterworks.batch.worklist import Worklist


class RemoteSource:
    """One INPUT that is an address: of a folder, an object, a folder that is one image, or a glob.

    Attributes
    ----------
    text
        The address.
    problem
        Why it cannot be read, or None.
    is_file, is_glob
        What it is; a folder that is one image counts as a file.
    identity, flaw
        Of what :meth:`files` has yielded last, and why that cannot be used or None.
    """

    def __init__(self, text: str) -> None:
        self.text, self.is_file, self.is_glob = text, False, False
        self.identity: Identity = Identity(-1, "")
        self.flaw: str | None = None
        self.problem: str | None = None
        try:
            self.url = parse_url(text)
            self.text = str(self.url)
            self._store = store_of(self.url)
            self.problem = self._look(text.endswith("/"))
        except JobError as error:
            self.problem = error.problems[0]
        except StoreError as error:
            self.problem = str(error)

    def _look(self, as_folder: bool) -> str | None:
        """Find out what is there; return why it cannot be used."""
        url, store = self.url, self._store
        if url.is_http and (as_folder or not url.key):
            return f"{url}: names no file; over http files are read one by one, folders cannot be listed"
        found = None if as_folder else store.identity(url.key)
        if found is not None:
            self.is_file, self.identity = True, found
            return None
        if url.is_http:
            return f"{url}: does not exist" + (", or is a folder" if is_store(url.name) else "")
        if is_store(url.name):
            found = tree_identity(store, url.key)
        if found is not None:
            self.is_file, self.identity = True, found
            return None
        if store.is_folder(url.key):
            return None
        if not is_pattern(url):
            return f"{url}: no such object or folder"
        self.is_glob = True
        return None if next(self.files(True), None) else f"{url}: no object matches this pattern"

    def files(self, recursive: bool) -> Iterator[tuple[str, str]]:
        """Yield (address, path in the output) of every object of any kind, or folder that is one image."""
        if self.is_file:
            yield self.text, self.url.name
            return
        base, pattern = fixed_part(self.url) if self.is_glob else (self.url, [])
        depth = 0 if "**" in pattern else None if recursive else 1
        listing = self._store.listed(base.key, recursive=recursive or self.is_glob)
        for name, self.identity, self.flaw in grouped(listing):
            if not self.is_glob or matches(name.split("/"), pattern, depth):
                yield str(base.below(name)), name


def remote_target(job: AnyJob, sources: Sequence[object]) -> tuple[RemotePlace, str]:
    """Return where results go, and ``.`` or the name of the single output object.

    Raises
    ------
    JobError
        If the address cannot be written to.
    """
    url = parse_url(job.output.path)
    if url.is_http:
        raise JobError([f"{url}: http can only be read; write to a folder, s3:// or gs://"])
    single = len(sources) == 1 and getattr(sources[0], "is_file", False) and PurePosixPath(url.name).suffix
    single = single and not job.output.path.endswith("/")
    if single and (is_store(url.name) or not store_of(url).is_folder(url.key)):
        if not job.writes(url.name):
            raise JobError([not_written(job, str(url))])
        return RemotePlace(Url(url.scheme, url.root, url.key.rpartition("/")[0])), url.name
    return RemotePlace(url), "."


def outside_inputs(sources: Sequence[object], place: RemotePlace, target: str) -> list[str]:
    """Refuse results inside a folder that is being read."""
    out = place.url if target == "." else place.url.below(target)
    return [
        f"{out}: lies inside the input {source.text}; choose an output beside it, "
        "so that results are never read as inputs"
        for source in sources
        if isinstance(source, RemoteSource)
        and not source.is_glob
        and out.inside(source.url)
        # A result with the very name of an input is refused further on.
        and not (source.is_file and out == source.url)
    ]


def add_remote(worklist: Worklist, source: RemoteSource, path: str, inside: str) -> str | None:
    """Add an object to the worklist; return why that cannot be done. Its name is data of strangers."""
    from filterworks.batch.worklist import Item

    where = worklist.place.shown()
    problem = unsafe(inside) or source.flaw
    if problem:
        return f"{path}: {problem}, so that it cannot be a result in {where}; rename it, or name the others"
    identity = source.identity
    other = worklist.add(Item(path, inside, identity.size, 0, identity.tag))
    if other is None:
        return None
    shown = worklist.place.shown(inside)
    return f"{other} and {path} would both become {shown}; give them different names or outputs"


def clobbered(worklist: Worklist, place: RemotePlace, job: AnyJob) -> list[str]:
    """Return a sentence for every output that would replace an input or a stranger's object.

    After a run that died on another machine, objects may be ours that no ledger here knows: those are made
    again, and the store keeps what is there unless it is just the same.
    """
    problems = []
    place.survey(worklist.target)
    may_be_ours = place.was_left()
    with place.reading() as ledger:
        for item in worklist:
            shown = place.shown(item.output)
            if is_store(item.input) and shown.startswith(f"{item.input}/"):
                problems.append(f"{shown}: would lie inside the input {item.input}; choose another output")
            elif worklist.is_input(shown):
                problems.append(f"{shown}: is an input; results never replace inputs, choose another output")
            elif place.standing(item.output) is None or job.output.overwrite:
                continue
            elif not may_be_ours and not is_ours(ledger, item.output):
                problems.append(f"{shown}: exists and was not made by filterworks; --overwrite replaces it")
    return problems
