"""What a run takes from outside, and what is said when it is not there."""

import json
import os
import shutil
from pathlib import Path

import pytest
from helpers import REPOSITORY

from planning.messages import PlanningError
from planning.samples import read_samples
from planning.sources import (
    Needs,
    files_of_run,
    missing_classifier,
    missing_pack,
    missing_records,
    missing_scores,
    missing_sources,
    pack_directory,
    read_pack,
    sha256_of_pack,
    stamps,
)  # fmt: skip
from virnucflow.files.tables import SCORES, SEQUENCES, write_parquet

BUILT_IN = REPOSITORY / "resources" / "models"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_pack_by_its_name_is_the_workflows_or_below_models(folder: Path) -> None:
    assert pack_directory("lite", BUILT_IN) == str(BUILT_IN / "lite")
    assert pack_directory("mine", BUILT_IN) == "models/mine"
    assert pack_directory("packs/mine", BUILT_IN) == "packs/mine"
    (folder / "lite").mkdir()
    assert pack_directory("lite", BUILT_IN) == "lite", "a folder here goes before the workflow's own"


def test_checksums_are_those_that_the_pack_states(folder: Path) -> None:
    sha256 = json.loads((BUILT_IN / "lite" / "pack.json").read_text())["sha256"]
    assert sha256_of_pack(read_pack(str(BUILT_IN / "lite"))) == sha256
    assert read_pack("absent") == {}
    shutil.copytree(BUILT_IN / "lite", "models/untrained")
    assert read_pack("models/untrained") == {}, "it may be built anew"
    for text in ("[]", "{", '{"sha256": []}', "[" * 100_000):
        Path("models/pack.json").write_text(text)
        assert sha256_of_pack(read_pack("models")) == {}


def test_a_pack_of_encoders_alone_has_no_classifier(folder: Path) -> None:
    assert missing_classifier(str(BUILT_IN / "lite")) == []
    Path("pack.json").write_text('{"sha256": {"esm2.safetensors": ""}}')
    [line] = missing_classifier(".")
    assert line.startswith("model_pack: . has no classifier; train one on it")


def test_a_pack_that_gives_sequences_no_score_has_none_to_choose_by(folder: Path) -> None:
    asked, nothing = {"min_score": 0.9, "max_fdr": 0.05}, {"min_score": 0, "max_fdr": "none"}
    assert missing_scores(str(BUILT_IN / "lite"), asked) == []
    for text in ("{}", '{"calibration": null}', '{"calibration": []}', '{"calibration": {"sequences": null}}'):
        Path("pack.json").write_text(text)
        assert missing_scores(".", nothing) == []
        assert missing_scores(".", asked) == [
            "min_score: the pack . gives sequences no score; give min_score: 0",
            "max_fdr: the pack . gives sequences no score; give max_fdr: none",
        ]


def test_what_to_do_about_a_pack_that_is_not_there(folder: Path) -> None:
    catalogue = str(REPOSITORY / "config" / "models.yaml")
    assert missing_pack(str(BUILT_IN / "lite"), catalogue) == []
    assert missing_pack("models/lte", catalogue)[0].endswith("(did you mean lite?)")
    assert missing_pack("models/virnucpro-500", catalogue)[0].endswith("fetch_models --config model_pack=virnucpro-500")
    assert "is no model pack, as it has no pack.json" in missing_pack(".", "absent.yaml")[0]


def test_a_call_looks_for_what_it_needs_and_no_more(folder: Path) -> None:
    Path("samples.tsv").write_text("sample\tfasta\na\tabsent.fa\nb\tmade.fa\n")
    config = {"model_pack": "models/mine", "chunk_length": 500, "reference_run": "nowhere"}
    samples = read_samples("samples.tsv")

    def missing(needs: Needs) -> list[str]:
        lines = missing_sources(needs, config, "absent.yaml", samples, lambda path: path == "made.fa")
        return [line.split(": ")[0] for line in lines]

    assert missing(Needs.NOTHING) == []
    assert missing(Needs.CATALOGUE) == ["catalogue"]
    assert missing(Needs.PACK) == ["catalogue", "model_pack"]
    for needs in (Needs.SAMPLES, Needs.CLASSIFIER):
        assert missing(needs) == ["catalogue", "model_pack", "reference_run", "samples"]
    config["model_pack"] = "models/untrained"
    assert missing(Needs.PACK) == ["catalogue"], "a rule builds it"


def test_stamps_tell_another_file_of_the_same_name(folder: Path) -> None:
    Path("a.fa").write_text("ACGT")
    os.utime("a.fa", (5, 7.9))
    assert stamps(["absent.fa", "a.fa"]) == [(4, 7)]


def test_results_without_any_record_are_not_trusted(folder: Path) -> None:
    assert missing_records(["a"]) == []
    Path("work/a").mkdir(parents=True)
    Path("work/a/sequences.parquet").touch()
    assert missing_records(["a"])[0].startswith("work/a: Snakemake has no record") and missing_records(["b"]) == []
    Path(".snakemake/incomplete").mkdir(parents=True)
    Path(".snakemake/incomplete/x").touch()
    assert missing_records(["a"]) == []


def test_files_of_the_run_to_compare_with(folder: Path) -> None:
    pattern = "work/{sample}/scores/flash/{shard}.parquet"
    with pytest.raises(PlanningError, match=r"^reference_run: not set"):
        files_of_run("", pattern, "a")
    scores = Path("other/work/a/scores/flash")
    scores.mkdir(parents=True)
    write_parquet(SEQUENCES.empty_table(), Path("other/work/a/sequences.parquet"), {"shards": 2})
    (scores / "00001.parquet").touch()
    with pytest.raises(PlanningError, match=r"^reference_run: other: no work/a/scores/flash/00002\.parquet; run its"):
        files_of_run("other", pattern, "a")
    (scores / "00002.parquet").touch()
    assert files_of_run("other", pattern, "a") == [f"{scores}/0000{shard}.parquet" for shard in (1, 2)]
    write_parquet(SCORES.empty_table(), scores / "00001.parquet", {"esm2": {"key": "esm2-1a2b3c4d-flash-bf16"}})
    with pytest.raises(PlanningError, match=r"no work/a/embeddings/esm2-1a2b3c4d-flash-bf16/00001\.safetensors"):
        files_of_run("other", "work/{sample}/embeddings/{esm2}/{shard}.safetensors", "a")
