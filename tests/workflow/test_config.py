"""Settings and sample sheet: complete, in step with their schemas, and strict."""

import re
from pathlib import Path

import pytest
import yaml
from helpers import EXAMPLE, REPOSITORY, SCRIPTS, planned_jobs, snakemake, write_fasta

from planning.code import digest_of_code

ALONE = {"shard_megabases": 0.001}  # so small that no two samples are in a batch
CONFIG = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_fasta(tmp_path / "one.fa", {"one": "GCCGCAGCTGCG" * 30})
    write_fasta(tmp_path / "two.fa", {"two": "GCCGCAGCTGCG" * 30})
    (tmp_path / "samples.tsv").write_text("sample\tfasta\na\tone.fa\nb\ttwo.fa\n")
    return tmp_path


def test_what_is_wrong_is_told_in_a_line_each_without_our_code(folder: Path) -> None:
    wrong = {"shards": 2.0, "gate": {"accept": float("nan")}, "chunk_lenght": 500}
    refused, *lines = snakemake(folder, "-n", code=1, **wrong).splitlines()
    assert refused == "Refused:" and [line.split(": ")[:2] for line in lines] == [
        ["config.yaml", "chunk_lenght"], ["config.yaml", "gate"], ["config.yaml", "shards"],
    ]  # fmt: skip
    said = snakemake(folder, "-n", "--config", "chunk_length=500.0", code=1)
    assert said == "Refused:\n--config: chunk_length: 500.0 is not allowed; give a whole number of at least 30\n"
    (folder / "samples.tsv").write_text("sample\tfasta\na b\tone.fa\na\t\n")
    refused, *lines = snakemake(folder, "-n", code=1).splitlines()
    assert [line.split(": ")[1] for line in lines] == ["samples.tsv, line 2", "samples.tsv, line 3"]


def test_a_part_of_a_section_on_the_command_line_goes_before_that_of_the_file(folder: Path) -> None:
    """Snakemake reads whatever a section is given there as texts."""
    settings = {"gate": {"frames": 300, "accept": 0.98, "seed": 7}}
    said = snakemake(folder, "-n", "-p", "--config", "gate={frames: 20, strict: true, accept: 9.7e-1}", **settings)
    assert "--number 20 --seed 7" in said and "--accept 0.97 --refuse 0.95" in said and "--strict" in said
    said = snakemake(
        folder, "work/a/sequences.parquet", "--config", "gate={frames: 0}", "precision={flash: fp32}", **settings
    )
    assert "1 of 1 steps (100%) done" in said
    said = snakemake(folder, "-n", "--config", "gate={frames: many}", code=1)
    assert "--config: gate: frames: 'many' is not allowed; give a whole number of at least 0" in said
    said = snakemake(folder, "-n", "--config", "gate=0", code=1)
    assert "--config: gate: 0 is not allowed; give a mapping of frames, seed, accept" in said


def test_settings_by_their_former_names_are_refused_with_the_new_ones(folder: Path) -> None:
    said = snakemake(folder, "-n", "--config", "divergence_frames=0", code=1, model="lite")
    assert said.splitlines() == [
        "Refused:",
        "config.yaml: model: is called model_pack now; give model_pack: lite",
        "--config: divergence_frames: is called gate: frames now; "
        "give gate: {frames: 0}, or --config gate='{frames: 0}'",
    ]


def test_a_pack_in_use_is_not_trained_over_by_whatever_name(folder: Path) -> None:
    (folder / "models").mkdir()
    (folder / "link").symlink_to("models")
    for trained_pack in ("models/../models/untrained/", "link/untrained"):
        assert "train_classifier" not in snakemake(folder, "--list-rules", training={"trained_pack": trained_pack})
    assert "train_classifier" in snakemake(folder, "--list-rules")


def test_number_of_shards_is_capped(folder: Path) -> None:
    assert planned_jobs(snakemake(folder, "-n", "work/a/frames/05000.parquet", shard_megabases=1e-9))
    said = snakemake(folder, "-n", "--printshellcmds", "work/a/frames/05000.parquet", shard_megabases=1e-9)
    assert "--chunks work/a/chunks/00001..05000.fa" in said


def test_programs_that_keep_parts_are_told_their_code(folder: Path) -> None:
    said = snakemake(folder, "-n", "--printshellcmds")
    for encoder in ("esm2", "dnabert_s"):
        digest = digest_of_code(SCRIPTS / f"embed_{encoder}.py", SCRIPTS / "virnucflow")
        assert re.findall(rf"embed_{encoder}\.py .* --code (\w+) ", said)[0] == digest


def test_missing_inputs_are_named(folder: Path) -> None:
    assert "nowhere.tsv" in snakemake(folder, "-n", code=1, samples="nowhere.tsv")
    assert "model_pack: models/elsewhere is not there" in snakemake(folder, "-n", code=1, model_pack="elsewhere")
    (folder / "one.fa").unlink()
    assert "samples.tsv, line 2: fasta: one.fa is not there" in snakemake(folder, "-n", code=1)


def chosen(said: str) -> dict[str, set[str]]:
    """The attention of each sample's embeddings, as the dry run names it."""
    found = re.findall(r"Embed the proteins of shard \d+ of (\w+) \((\w+)\)", said)
    return {sample: {attention for other, attention in found if other == sample} for sample, _ in found}


@pytest.mark.long
def test_environment_goes_before_sheet_goes_before_config(folder: Path) -> None:
    assert chosen(snakemake(folder, "-n", **ALONE)) == {"a": {"flash"}, "b": {"flash"}}
    assert chosen(snakemake(folder, "-n", attention="standard", **ALONE)) == {"a": {"standard"}, "b": {"standard"}}
    (folder / "samples.tsv").write_text("sample\tfasta\tattention\na\tone.fa\tstandard\nb\ttwo.fa\t\n")
    assert chosen(snakemake(folder, "-n", **ALONE)) == {"a": {"standard"}, "b": {"flash"}}
    (folder / "samples.tsv").write_text("sample\tfasta\tattention\na\tone.fa\tflash\nb\ttwo.fa\t\n")

    def forced(value: str, code: int = 0) -> str:
        return snakemake(folder, "-n", code=code, environment={"VIRNUCPRO_V1_ATTENTION": value}, **ALONE)

    assert chosen(forced("true")) == chosen(forced("1")) == {"a": {"standard"}, "b": {"standard"}}
    assert chosen(forced("false")) == chosen(forced("")) == {"a": {"flash"}, "b": {"flash"}}
    assert "VIRNUCPRO_V1_ATTENTION=maybe: unknown" in forced("maybe", code=1)


def test_shards_follow_from_the_size_of_the_input(folder: Path) -> None:
    write_fasta(folder / "one.fa", {"one": "GCCGCAGCTGCG" * 5000})
    jobs = planned_jobs(snakemake(folder, "-n", shard_megabases=0.02))
    assert jobs["split_fasta"] == 2 and jobs["translate_frames"] == 4 + 1
    assert planned_jobs(snakemake(folder, "-n", shards=17, **ALONE))["embed_esm2"] == 34


def test_dry_run_lists_every_job_of_the_full_config(tmp_path: Path) -> None:
    """The config and sample sheet of the repository, on a machine with nothing yet computed."""
    (tmp_path / "resources").symlink_to(EXAMPLE.parent)
    samples = str(REPOSITORY / "config" / "samples.tsv")
    for shards in (1, 3):
        jobs = planned_jobs(snakemake(tmp_path, "-n", **CONFIG | ALONE | {"samples": samples, "shards": shards}))
        each_shard = dict.fromkeys(["embed_dnabert_s", "embed_esm2", "concat_features", "predict"], 2 * shards)
        sampled = dict.fromkeys([f"{step}_sampled" for step in each_shard], 2)  # the gate's frames
        gate = ["sample_frames", "compare_attention", "divergence_gate"]
        each_sample = dict.fromkeys(["split_fasta", *gate, "write_results"], 2)
        assert jobs == each_shard | sampled | each_sample | {"translate_frames": 2 * shards, "summarize": 1}
        together = planned_jobs(snakemake(tmp_path, "-n", **CONFIG | {"samples": samples, "shards": shards}))
        of_batches = [f"{step}_flash_1" for step in ("translate_frames", "sample_frames", *each_shard)]
        of_batches += [f"{step}_flash_1_sampled" for step in each_shard]
        del each_sample["sample_frames"]
        assert together == each_sample | dict.fromkeys([*of_batches, "summarize"], 1)
    assert not (tmp_path / "work").exists()


def test_conda_environment_and_requirements_agree() -> None:
    pins = re.findall(r"^([\w.-]+)==(\S+)$", (REPOSITORY / "envs" / "programs.txt").read_text(), re.MULTILINE)
    *_, pip = yaml.safe_load((REPOSITORY / "envs" / "programs.yaml").read_text())["dependencies"]
    assert dict(line.split(" ==") for line in pip["pip"]) == dict(pins)


def test_requirements_are_pinned_once() -> None:
    files = ["programs.txt", "run.txt", "test.txt", "constraints.txt"]
    texts = [(REPOSITORY / "envs" / file).read_text() for file in files]
    lines = [line for text in texts for line in text.splitlines() if line and line[0] not in "#-"]
    names = [re.fullmatch(r"([\w.-]+)(?:\[\w+\])?==[\w.]+", line)[1].lower() for line in lines]
    assert len(names) == len(set(names))
