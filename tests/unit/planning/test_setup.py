"""What the check before the first job is told."""

from pathlib import Path

import pytest

from planning.setup import bytes_in_work, null_separated, setup_options

CONFIG = {
    "chunk_length": 500,
    "keep": "embeddings",
    "device": "auto",
    "precision": {"flash": "auto", "standard": "fp32"},
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_options_of_a_run_on_this_machine() -> None:
    options = setup_options(CONFIG | {"model_pack": "-mine"}, 7, [], {"standard", "flash"}, ["sbatch"], Path("p.txt"))
    assert " ".join(options) == (
        "--work work --chunk-length 500 --bases 7 --copies 1 --there 0 --model ./-mine --device auto "
        "--precision auto fp32 --commands sbatch --requirements p.txt"
    )


def test_options_of_a_run_elsewhere_with_a_pack_that_a_rule_builds() -> None:
    options = setup_options(CONFIG | {"model_pack": "models/untrained"}, 0, [], (), [], None)
    assert " ".join(options) == "--work work --chunk-length 500 --bases 0 --copies 1 --there 0 --commands"


def test_what_is_in_work_already_counts_once() -> None:
    for name in ("work/a/chunks/00001.fa", "work/a/x.parquet", "results/a/a.run.json"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"12345")
    sizes = {
        name: bytes_in_work(name) for name in ("work/a/chunks", "work/a/x.parquet", "work/b", "results/a/a.run.json")
    }
    assert list(sizes.values()) == [5, 5, 0, 0]
    options = setup_options(CONFIG | {"model_pack": "a"}, 0, [*sizes, "work/a/chunks"], (), [], None)
    assert options[options.index("--there") + 1] == "10"


def test_what_the_store_has_counts_where_its_output_is_missing() -> None:
    """Beside an output it is a hard link, and takes no room."""
    folder = Path("work/a/embeddings/x")
    folder.mkdir(parents=True)
    for name in ("00001.safetensors", ".00001.safetensors.1f.stored", ".00002.safetensors.2e.stored"):
        (folder / name).write_bytes(b"12345")
    assert [bytes_in_work(f"{folder}/0000{number}.safetensors") for number in (1, 2, 3)] == [5, 5, 0]


def test_any_name_of_a_file_is_handed_over() -> None:
    assert null_separated(["a\nb", "\udcff"]) == b"a\nb\0\xff\0"
