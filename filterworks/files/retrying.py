"""Every call to a store goes through :func:`retried`: what passes is tried again, the rest is told in words.

What a library says is never quoted: its texts hold addresses, headers and sometimes keys.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

from filterworks.errors import FileError, FilterworksError

_Result = TypeVar("_Result")
Kind = Literal["passing", "missing", "exists", "changed", "refused", "unsupported"]

# In seconds: how long a call is tried in all, and the first and the longest pause.
PATIENCE, _FIRST, _LONGEST = 60.0, 0.25, 8.0

_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_PASSING_CODES = frozenset(
    [
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequests",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "BandwidthLimitExceeded",
        "RequestTimeout",
        "RequestTimeoutException",
        "InternalError",
        "InternalFailure",
        "ServiceUnavailable",
        "ConditionalRequestConflict",
        "OperationAborted",
        "BadDigest",
        "IncompleteBody",
        "XAmzContentSHA256Mismatch",
    ]
)
# By name, because the libraries are there only for those who use them; base classes count too.
_PASSING_TYPES = frozenset(
    [
        "ConnectionError",
        "TimeoutError",
        "gaierror",
        "HTTPClientError",
        "EndpointConnectionError",
        "ConnectionClosedError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "IncompleteRead",
        "IncompleteReadError",
        "ResponseParserError",
        "ResponseStreamingError",
        "ClientConnectionError",
        "ClientPayloadError",
        "ServerDisconnectedError",
        "FSTimeoutError",
        "ChecksumError",
    ]
)
_CREDENTIAL_CODES = frozenset(
    [
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidToken",
        "InvalidSecurity",
        "AuthFailure",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "RequestTimeTooSkewed",
        "401",
    ]
)
_REGION_CODES = frozenset(
    [
        "PermanentRedirect",
        "TemporaryRedirect",
        "Redirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "301",
        "307",
    ]
)


class StoreError(FileError):
    """A store cannot be used as asked; `kind` says in which way."""

    def __init__(self, text: str, kind: Kind = "refused") -> None:
        super().__init__(text)
        self.kind = kind


def is_lost(error: Exception) -> bool:
    """Return whether a store was out of reach, also after all tries."""
    return isinstance(error, StoreError) and error.kind == "passing"


@dataclass(frozen=True)
class _Signs:
    """What can be told from an error: HTTP status, the store's code, the names of the types."""

    status: int
    code: str
    types: frozenset[str]

    @property
    def shown(self) -> str:
        parts = [str(self.status) if self.status else "", self.code if self.code.isalpha() else ""]
        return " ".join(part for part in parts if part)


def retried(call: Callable[[], _Result], what: str) -> _Result:
    """Return what `call` returns; while its failures are passing ones, try again for about a minute.

    Parameters
    ----------
    call
        May be made several times.
    what
        The address, put in front of what is said.

    Raises
    ------
    StoreError
        In words, with what to do.
    """
    start, pause, tries = time.monotonic(), _FIRST, 0
    while True:
        tries += 1
        try:
            return call()
        except FilterworksError:
            raise
        except Exception as error:  # dozens of types from several libraries, told apart below
            signs = _signs(error)
            if _is_of_this_machine(error, signs):
                raise
            kind = _kind(signs)
            spent = time.monotonic() - start
            if kind != "passing" or spent + pause > PATIENCE:
                raise StoreError(
                    f"{what}: {_sentence(kind, signs, type(error), tries, spent)}", kind
                ) from None
        # Many workers that were turned away together must not come back together.
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # nothing secret about a pause
        pause = min(2 * pause, _LONGEST)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what caused it: libraries wrap the one that counts."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _signs(error: BaseException) -> _Signs:
    status, code = 0, ""
    types: set[str] = set()
    for one in _chain(error):
        types |= {kind.__name__ for kind in type(one).__mro__}
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            status = status or int(response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
            code = code or str(response.get("Error", {}).get("Code") or "")
        # aiohttp says status, and warns of code, which is what gcsfs says; its complaints about a response
        # that breaks off bear the code that a server would answer with, and no server has said that.
        value = getattr(one, "status", None)
        if not hasattr(one, "status") and not _is_about_response(one):
            value = getattr(one, "code", None)
        if isinstance(value, int) and 100 <= value < 600:
            status = status or value
    return _Signs(status, code, frozenset(types))


def _is_about_response(error: BaseException) -> bool:
    return any(kind.__name__ == "HttpProcessingError" for kind in type(error).__mro__)


def _is_of_this_machine(error: Exception, signs: _Signs) -> bool:
    """Return whether the local disk failed, not the store."""
    if signs.status or signs.code or signs.types & _PASSING_TYPES:
        return False
    return isinstance(error, OSError) and error.errno is not None and error.__cause__ is None


def _kind(signs: _Signs) -> Kind:
    if signs.status in _PASSING_STATUS or signs.code in _PASSING_CODES:
        return "passing"
    if signs.code == "PreconditionFailed" or signs.status == 412:
        return "changed"
    if signs.code == "NotImplemented" or signs.status == 501:
        return "unsupported"
    if signs.status == 404 or (not signs.status and "FileNotFoundError" in signs.types - _PASSING_TYPES):
        # A library may call "not found" what it could not reach.
        return "passing" if not signs.status and signs.types & _PASSING_TYPES else "missing"
    if "FileExistsError" in signs.types:
        return "exists"
    return "passing" if not signs.status and signs.types & _PASSING_TYPES else "refused"


def _sentence(kind: Kind, signs: _Signs, error: type[Exception], tries: int, spent: float) -> str:
    shown = signs.shown or error.__name__
    if kind == "passing":
        what = "is too busy or failing" if signs.status else "cannot be reached"
        return (
            f"the store {what} ({shown}), {tries} tries in {spent:.0f} s; look at the network and at the "
            "endpoint, then run the same command again"
        )
    if signs.code == "NoSuchBucket":
        return "there is no such bucket; look at its name, or make it first"
    if kind == "missing":
        return "does not exist"
    if kind == "exists":
        return "exists already"
    if kind == "changed":
        return "has changed meanwhile"
    return _refusal(signs, shown)


def _refusal(signs: _Signs, shown: str) -> str:
    if signs.types & {"NoCredentialsError", "PartialCredentialsError"}:
        return (
            "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or "
            "run `aws configure` (a public bucket is read with FSSPEC_S3_ANON=true)"
        )
    if "ProfileNotFound" in signs.types:
        return "AWS_PROFILE names a profile that ~/.aws/config does not have"
    unusable = any("Credential" in name or "SSO" in name or "Token" in name for name in signs.types)
    if signs.code in _CREDENTIAL_CODES or signs.status == 401 or unusable:
        return (
            f"the credentials are not accepted ({shown}); look at those in the environment and in ~/.aws, "
            "and whether they have expired"
        )
    if signs.code in _REGION_CODES or signs.status in (301, 307):
        return f"lies in another region ({shown}); set AWS_DEFAULT_REGION to the bucket's"
    if signs.status == 403 or "PermissionError" in signs.types:
        return f"access is denied ({shown}); the credentials must allow to list, read and write there"
    if signs.types & {"ParamValidationError", "UnicodeEncodeError"}:
        return "the store does not take this name of a bucket or object"
    return f"the store refused ({shown})"
