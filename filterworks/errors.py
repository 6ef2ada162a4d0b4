"""Every error that filterworks raises on purpose.

::

    FilterworksError
    ├── ArgumentError(ValueError)        a parameter is out of range, unknown or inconsistent
    │   └── ArgumentTypeError(TypeError) a parameter has the wrong type
    ├── EngineError(ValueError)          the engine asked for cannot do this problem
    ├── MissingDataError(ValueError)     NaN where ``nan_policy="raise"`` or an integer result forbids it
    ├── UndeterminedError(ValueError)    the examples do not determine the kernel to be learnt
    ├── FileError                        a file cannot be read or written; the message names it
    ├── JobError                         a job (file or command line) is wrong; all its problems at once
    └── LedgerError                      the record beside the output is locked or unusable
        └── NoSpaceError                 the disk is full
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

# Names that a message lists at most: a table may have thousands of columns.
_NAMED = 100


class FilterworksError(Exception):
    """Base of all expected failures: the message is for people, no traceback is needed."""


class ArgumentError(FilterworksError, ValueError):
    """A parameter is out of range, unknown or inconsistent with another."""


class ArgumentTypeError(ArgumentError, TypeError):
    """A parameter has the wrong type."""


class EngineError(FilterworksError, ValueError):
    """The engine that was asked for cannot do this problem."""


class MissingDataError(FilterworksError, ValueError):
    """NaN was found where it is not allowed."""


class UndeterminedError(FilterworksError, ValueError):
    """The examples do not determine the kernel that is to be learnt."""


class FileError(FilterworksError):
    """A file cannot be read or written as asked."""


class JobError(FilterworksError):
    """A job is wrong.

    Parameters
    ----------
    problems
        One sentence each; all of them are reported at once.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type[JobError], tuple[tuple[str, ...]]]:
        return type(self), (self.problems,)


class LedgerError(FilterworksError):
    """The ledger of an output is in use by another run, or cannot be used."""


class NoSpaceError(LedgerError):
    """Nothing can be recorded, because the disk is full."""


def must(name: str, accepted: str, got: object) -> str:
    """Return the sentence ```name` must be ACCEPTED; got GOT``.

    Examples
    --------
    >>> must("sigma", "a positive number", -1)
    '`sigma` must be a positive number; got -1'
    """
    return f"`{name}` must be {accepted}; got {got!r}"


def unknown(kind: str, name: str, choices: Iterable[str]) -> str:
    """Return a sentence that names the near matches and everything that is accepted.

    Examples
    --------
    >>> unknown("mode", "sam", ["full", "same", "valid"])
    "unknown mode 'sam': did you mean 'same'? Accepted: full, same, valid"
    """
    accepted = list(choices)
    near = difflib.get_close_matches(name, accepted, n=3, cutoff=0.6)
    hint = f" did you mean {' or '.join(map(repr, near))}?" if near else ""
    others = f", … ({len(accepted)} in all)" if len(accepted) > _NAMED else ""
    return f"unknown {kind} {name!r}:{hint} Accepted: {', '.join(accepted[:_NAMED])}{others}"
