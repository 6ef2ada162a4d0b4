"""Names of results on the file systems of this world: what they refuse, and which they take for one."""

from __future__ import annotations

import os
import re
import tempfile
import unicodedata
from pathlib import Path, PurePath

_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?")


def outside(output: str) -> bool:
    r"""Return whether a path would leave the folder that it is to lie in.

    Examples
    --------
    >>> outside("a/../b.png"), outside("a/../../b.png"), outside("/etc/b.png"), outside("..b.png")
    (False, True, True, False)
    """
    flat = os.path.normpath(output)
    leaves = flat == os.pardir or flat.startswith(os.pardir + os.sep)
    return leaves or os.path.isabs(flat) or bool(os.path.splitdrive(flat)[0])  # noqa: PTH117  # text


def refused_by_windows(output: str) -> str | None:
    r"""Return why Windows would take a path for something else, or None.

    Examples
    --------
    >>> refused_by_windows(r"a\con.png"), refused_by_windows("b .png"), refused_by_windows(r"b.\c.png")
    ("'con.png' is the name of a device", None, "'b.' ends with a dot or a space, which would be cut off")
    >>> refused_by_windows("b:c.png")
    "'b:c.png' holds one of the signs that no name may have"
    """
    for part in re.split(r"[\\/]", output):
        if _DEVICES.fullmatch(part):
            return f"{part!r} is the name of a device"
        if part.endswith((".", " ")):
            return f"{part!r} ends with a dot or a space, which would be cut off"
        if re.search(r'[<>:"|?*\x00-\x1f]', part):
            return f"{part!r} holds one of the signs that no name may have"
    return None


def look(output: str | bytes) -> str | bytes:
    r"""Return what all the names have in common that some file system takes for one.

    Examples
    --------
    >>> look("A/\u00c9.png") == look("a/e\u0301.PNG"), look("a.png") == look("b.png")
    (True, False)
    """
    if isinstance(output, bytes) or (output.isascii() and output.islower()):
        return output
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", output).casefold())


def are_one(folder: Path, first: str, second: str) -> bool:
    """Return whether two paths in `folder` would be one file: tried with an empty file that is removed."""
    parts = zip(PurePath(first).parts, PurePath(second).parts, strict=False)
    for one, other in parts:
        if one == other:
            folder = folder / one
        elif not _is_same_name(folder, one, other):
            return False
    return True


def _is_same_name(folder: Path, one: str, other: str) -> bool:
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryDirectory(prefix=".filterworks-", dir=folder) as place:
            Path(place, one).touch()
            return Path(place, other).exists()
    except OSError:
        return False  # nothing can be written here, so nothing can be overwritten
