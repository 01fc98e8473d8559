"""The image of the programs, and the folders that are shown in it."""

from pathlib import Path

import pytest

from planning.container import folders_outside, missing_image, places
from planning.messages import PlanningError
from planning.samples import read_samples


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_an_image_is_missed_where_it_is_a_file(here: Path) -> None:
    Path("a.sif").touch()
    assert missing_image("a.sif", "build.sh") == missing_image("docker://example.org/a:1", "build.sh") == []
    assert missing_image("b.sif", "build.sh")[0].startswith("container: b.sif is not there; build it with 'build.sh'")


def test_places_are_named_by_their_settings(here: Path) -> None:
    Path("../elsewhere").mkdir()
    Path("../elsewhere/a.fa").touch()
    Path("link.fa").symlink_to("../elsewhere/a.fa")
    Path("samples.tsv").write_text("sample\tfasta\na\tlink.fa\na\tabsent.fa\n")
    config = {"model_pack": "packs/mine", "published_files": "", "reference_run": "../run"}
    config["training"] = {"trained_pack": "models/trained"}
    expected = [
        ("model_pack", Path("packs/mine")), ("reference_run", Path("../run")),
        ("training: trained_pack", Path("models/trained")),
        ("samples", Path()), ("samples", here.parent / "elsewhere"),
    ]  # fmt: skip
    assert list(places(config, "absent.yaml", read_samples("samples.tsv").values())) == expected
    Path("packs").mkdir()
    Path("packs/lock.json").touch()
    assert ("model_pack", Path("packs")) in list(places(config, "absent.yaml", []))


def test_folders_outside_are_shown_once(here: Path) -> None:
    outside = here.parent / "out"
    (outside / "below").mkdir(parents=True)
    names = ["deep/in/here", "../out", "../out/below", "../out/not/there/yet"]
    assert folders_outside([("samples", Path(name)) for name in names], here) == [str(outside)]


@pytest.mark.parametrize(
    ("name", "message"),
    [("a,b", "model_pack: .*: Apptainer takes no folder"), ("a:b", "model_pack: .*: Apptainer takes no folder")],
)
def test_folders_that_apptainer_cannot_show(name: str, message: str, here: Path) -> None:
    (here.parent / name).mkdir()
    with pytest.raises(PlanningError, match=message):
        folders_outside([("model_pack", here.parent / name)], here)
    with pytest.raises(PlanningError, match="takes no working directory with a colon"):
        folders_outside([], Path("/a:b"))
    with pytest.raises(PlanningError, match=r"^model_pack: /not there/pack: there is no folder above it"):
        folders_outside([("model_pack", Path("/not there/pack"))], here)
