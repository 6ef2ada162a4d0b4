"""Addresses of stores: which are taken, and what is never shown of them.

An address goes into ledgers, logs and reports, so one that carries a secret is refused at the door.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import has_magic
from urllib.parse import unquote

from filterworks.errors import JobError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
# What each scheme is called here; gcs is another spelling of gs.
_SCHEMES = {"s3": "s3", "gs": "gs", "gcs": "gs", "http": "http", "https": "https", "memory": "memory"}
_HOST = re.compile(r"([^:@\[\]]+|\[[0-9A-Fa-f:.]+\])(:\d+)?")


@dataclass(frozen=True)
class Url:
    """An address in a store.

    Attributes
    ----------
    scheme
        ``s3``, ``gs``, ``http``, ``https`` or ``memory``.
    root
        The bucket, or the host.
    key
        What follows, without slashes at its ends.
    """

    scheme: str
    root: str
    key: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.root}/{self.key}" if self.key else f"{self.scheme}://{self.root}"

    @property
    def is_http(self) -> bool:
        """Whether it is a page of the web: it can be read, but neither listed nor written."""
        return self.scheme in ("http", "https")

    @property
    def name(self) -> str:
        """The last part, as people read it."""
        last = self.key.rpartition("/")[2]
        return unquote(last) if self.is_http else last

    def below(self, name: str) -> Url:
        """Return the address of `name` inside."""
        return Url(self.scheme, self.root, f"{self.key}/{name}" if self.key else name)

    def inside(self, other: Url) -> bool:
        """Return whether this lies in `other`, or is it."""
        if (self.scheme, self.root) != (other.scheme, other.root):
            return False
        return not other.key or self.key == other.key or self.key.startswith(f"{other.key}/")


def is_url(text: object) -> bool:
    """Return whether a text is meant as an address rather than a path.

    Examples
    --------
    >>> is_url("s3://bucket/photos"), is_url("photos/a.png"), is_url("C:/photos")
    (True, False, False)
    """
    return isinstance(text, str) and "://" in text and _SCHEME.match(text) is not None


def redacted(text: str, *, strictly: bool = False) -> str:
    """Return a text whose addresses show neither user, password nor signature.

    Parameters
    ----------
    text
        Anything that is to be shown.
    strictly
        Whether whatever may be a secret is one, also where it may just be an odd name.

    Examples
    --------
    >>> redacted("cannot open s3://KEY:se/cret@bucket/a.png, nor https://host/a.png?X-Amz-Signature=0f3")
    'cannot open s3://…@bucket/a.png, nor https://host/a.png?…'
    """
    user = r"\S*@" if strictly else r"(?:[^\s/@]*@|[^\s/@]*:(?!\d+/)\S*@)"
    query = r"[?#]\S*" if strictly else r"[?#]\S*=\S*"
    text = re.sub(rf"([A-Za-z][\w+.-]*://){user}", r"\1…@", text)
    return re.sub(rf"([A-Za-z][\w+.-]*://[^\s?#]*){query}", r"\1?…", text)


def parse_url(text: str) -> Url:
    """Return the parts of an address.

    Raises
    ------
    JobError
        If the kind of store is unknown, the address names no bucket, has parts that cannot be names, or
        carries a user, a password, a query or a fragment: those hold keys, signatures and tokens.

    Examples
    --------
    >>> parse_url("s3://bucket/photos/2024/")
    Url(scheme='s3', root='bucket', key='photos/2024')
    """
    found = _SCHEME.match(text)
    if found is None:
        raise JobError([f"{redacted(text, strictly=True)}: is no address such as s3://bucket/folder"])
    shown, rest = redacted(text, strictly=True), text[found.end() :]
    scheme = _SCHEMES.get(found[1].lower())
    if scheme is None:
        hint = "write the path itself" if found[1].lower() == "file" else "accepted are s3, gs, http, https"
        raise JobError([f"{shown}: {found[1]}:// is no store that can be used; {hint}"])
    root, _, key = rest.partition("/")
    http = scheme in ("http", "https")
    if "@" in root or not (_HOST.fullmatch(root) if http else ":" not in root):
        hidden = shown if "@" in text else f"{scheme}://…"
        raise JobError(
            [
                f"{hidden}: an address must carry no user and no password: they would end up in records; "
                "credentials are taken from the environment, ~/.aws and their kin"
            ]
        )
    if re.search(r"[?#]" if http else r"\?[^/?]*=", rest):
        raise JobError(
            [
                f"{shown}: an address must carry no query and no fragment: they hold signatures and tokens, "
                "which would end up in records; fetch such a file first"
            ]
        )
    url = Url(scheme, root, key.strip("/") if http else key.removesuffix("/"))
    problem = "it names no bucket" if not root else unsafe(url.key) if url.key else None
    if problem:
        raise JobError([f"{shown}: cannot be used: {problem}"])
    return url


def unsafe(name: str) -> str | None:
    """Return why a name cannot be a path below a folder, or None.

    Examples
    --------
    >>> unsafe("a/b.png"), unsafe("a/../../b.png")
    (None, "its name has a part '..'")
    """
    for part in name.split("/"):
        if part in (".", ".."):
            return f"its name has a part {part!r}"
        if not part:
            return "its name has an empty part"
    for sign in ("\\", "\0"):
        if sign in name:
            return f"its name holds the character {sign!r}"
    return None


def is_hidden(part: str) -> bool:
    """Return whether one part of a name is hidden; what is no possible name is not, but refused aloud."""
    return part.startswith(".") and unsafe(part) is None


def is_pattern(url: Url) -> bool:
    """Return whether an address holds wildcards."""
    return not url.is_http and has_magic(url.key)


def fixed_part(url: Url) -> tuple[Url, list[str]]:
    """Return the folders before the first part with a wildcard, and the parts from there on.

    Examples
    --------
    >>> base, pattern = fixed_part(parse_url("s3://bucket/a/*/b.png"))
    >>> str(base), pattern
    ('s3://bucket/a', ['*', 'b.png'])
    """
    parts = url.key.split("/")
    count = next(position for position, part in enumerate(parts) if has_magic(part))
    return Url(url.scheme, url.root, "/".join(parts[:count])), parts[count:]


def matches(names: Sequence[str], pattern: Sequence[str], depth: int | None = 0) -> bool:
    """Return whether the parts of a name match those of a pattern; ``**`` stands for any number of parts.

    Parameters
    ----------
    names, pattern
        From left to right.
    depth
        How many parts may follow below what is matched: it may be a folder; None: any number.

    Examples
    --------
    >>> matches(["2024", "may", "a.png"], ["**", "*.png"]), matches(["a", "b.png"], ["*.png"])
    (True, False)
    """
    if not pattern:
        return depth is None or len(names) <= depth
    if pattern[0] == "**":
        return any(matches(names[skipped:], pattern[1:], depth) for skipped in range(len(names) + 1))
    return bool(names) and fnmatchcase(names[0], pattern[0]) and matches(names[1:], pattern[1:], depth)
