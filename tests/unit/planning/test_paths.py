"""Paths, as they are written and as programs take them."""

from pathlib import Path

import pytest

from planning.paths import argument, arguments, hint, plain, same_directory


def test_plain_paths() -> None:
    for written, expected in [
        ("./a//b/", "a/b"), ("a/../b", "a/../b"), ("//a", "/a"), ("a", "a"), ("", ""), ("./-x", "-x"), ("./ x", " x"),
        ("https://a", "https://a"),
    ]:  # fmt: skip
        assert plain(written) == expected


def test_no_path_is_an_option() -> None:
    assert arguments(["--dup=rename", "-", "a-b", "/-"]) == ["./--dup=rename", "./-", "a-b", "/-"]
    assert argument("-a") == "./-a"


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("~/x.fa", "write the path out"), ("$HOME/x.fa", "write the path out"), ("${HOME}/x.fa", "write the path out"),
        ("data/*.fa", "a row of its own"), ("a.fa,b.fa", "a row of its own"), ("C:\\x.fa", "separate folders with /"),
        ("“x.fa”", "remove the quotes"), ("x.fa", "check the path"),
    ],
)  # fmt: skip
def test_hints(path: str, advice: str) -> None:
    assert advice in hint(path)


def test_one_directory_by_several_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    Path("link").symlink_to("models")
    for other in ("models/x", "models/../models/x", "link/x", str(tmp_path / "models" / "x")):
        assert same_directory("models/x", other)
    assert not same_directory("models/x", "models/y")
