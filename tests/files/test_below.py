"""Folders inside of one that is there."""

from pathlib import Path

import pytest

from filterworks.files.below import make_below


def test_everything_between_is_made(tmp_path):
    make_below(tmp_path, tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    make_below(tmp_path, tmp_path / "a" / "b" / "d")
    make_below(tmp_path, tmp_path / "a" / "b" / "d")
    assert (tmp_path / "a" / "b" / "d").is_dir()
    make_below(tmp_path, tmp_path)


@pytest.mark.parametrize("below", ["", "a", "a/b", "a/b/c"])
@pytest.mark.parametrize("root", ["share", "share/out"])
def test_the_folder_itself_is_never_made(tmp_path, root, below):
    place = tmp_path / root / below
    if below:
        with pytest.raises(FileNotFoundError):
            make_below(tmp_path / root, place)
    else:
        make_below(tmp_path / root, place)
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_is_written_in_relative_terms(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_below(Path(), Path("a/b"))
    make_below(Path("a"), Path("a/c/d"))
    assert (tmp_path / "a" / "b").is_dir()
    assert (tmp_path / "a" / "c" / "d").is_dir()


def test_a_file_in_the_way_is_an_error(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(FileExistsError):
        make_below(tmp_path, tmp_path / "a")
    with pytest.raises(NotADirectoryError):
        make_below(tmp_path, tmp_path / "a" / "b")


def test_any_depth(tmp_path):
    deep = tmp_path / ("a/" * 300)
    make_below(tmp_path, deep)
    assert deep.is_dir()
