"""Folders that are made inside of one which is there."""

from __future__ import annotations

from pathlib import Path


def make_below(root: Path, folder: Path) -> None:
    """Make a folder and those between it and `root`, but never `root` itself.

    A share that has vanished is not made again on the disk underneath, however the moment falls:
    asking first whether it is there would leave a moment for it to go.

    Parameters
    ----------
    root
        A folder that is there.
    folder
        Below it; it may be there.

    Raises
    ------
    OSError
        ``FileNotFoundError`` if `root` is not there.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as out:
    ...     make_below(Path(out), Path(out, "a/b"))
    ...     Path(out, "a/b").is_dir()
    True
    """
    missing = []
    while folder != root:
        try:
            folder.mkdir()
            break
        except FileExistsError:
            if not folder.is_dir():
                raise
            break
        except FileNotFoundError:
            if root not in folder.parent.parents:
                raise
            missing.append(folder)
            folder = folder.parent
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
