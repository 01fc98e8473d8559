"""Small samples are computed together, with the results that each has alone."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from helpers import EXAMPLE, REPOSITORY, planned_jobs, reproducible, snakemake, write_fasta

from virnucflow.packs.encoders import ENCODERS
from virnucflow.sequences.fasta import read_fasta

SETTINGS = {"model_pack": str(REPOSITORY / "resources" / "models" / "lite"), "shards": 2, "gate": {"frames": 30}}
ALONE = SETTINGS | {"shard_megabases": 0.001}  # a sample of more than a sixth of it is in no batch
STEPS = {
    "translate_frames",
    "sample_frames",
    *(f"embed_{encoder}" for encoder in ENCODERS),
    "concat_features",
    "predict",
}
SAMPLED = {f"{step}_flash_1_sampled": 1 for step in STEPS - {"translate_frames", "sample_frames"}}
IN_A_BATCH = {f"{step}_flash_1": 1 for step in STEPS} | SAMPLED


def of_each_sample(number: int) -> dict[str, int]:
    return {**dict.fromkeys(("compare_attention", "divergence_gate", "write_results"), number), "summarize": 1}


def write_sheet(folder: Path, samples: str) -> None:
    (folder / "samples.tsv").write_text("sample\tfasta\n" + "".join(f"{name}\t{name}.fa\n" for name in samples))


@pytest.fixture(scope="module")
def batched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small samples, computed together; the sequences of a fourth are there."""
    folder = tmp_path_factory.mktemp("batched")
    phage = next(read_fasta(EXAMPLE / "phage_lambda.fasta.gz")).sequence
    for number, name in enumerate("abcd"):
        pieces = {f"{name}{i}": phage[number * 9000 + i * 900 :][:800] for i in range(8)}
        write_fasta(folder / f"{name}.fa", pieces)
    write_sheet(folder, "abc")
    said = snakemake(folder, **SETTINGS)
    assert planned_jobs(said) == {"split_fasta": 3} | IN_A_BATCH | of_each_sample(3)
    return folder


@pytest.fixture
def copy(batched: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(batched, tmp_path / "copy"))


def kept(files: dict[str, bytes]) -> dict[str, bytes]:
    """Files but for those of the store."""
    return {name: content for name, content in files.items() if not name.endswith(".stored")}


@pytest.mark.long
def test_a_batch_has_the_files_that_each_sample_has_alone(batched: Path, tmp_path: Path) -> None:
    made = shutil.ignore_patterns("work", "results", "logs", ".snakemake")
    alone = Path(shutil.copytree(batched, tmp_path / "alone", ignore=made))
    jobs = planned_jobs(snakemake(alone, **ALONE))
    assert (jobs["embed_esm2"], jobs["embed_esm2_sampled"]) == (6, 3)  # of three samples, two shards and the gate's
    for name in ("work", "results"):
        together, one_by_one = kept(reproducible(batched / name)), reproducible(alone / name)
        assert together.keys() == one_by_one.keys()
        assert [file for file in together if together[file] != one_by_one[file]] == []


@pytest.mark.long
def test_a_finished_batch_plans_nothing(copy: Path) -> None:
    assert planned_jobs(snakemake(copy, "-n", **SETTINGS)) == {}


@pytest.mark.long
def test_a_sample_more_embeds_nothing_again(copy: Path) -> None:
    before = reproducible(copy / "results") | reproducible(copy / "work")
    write_sheet(copy, "abcd")
    said = snakemake(copy, **SETTINGS)
    # All are split again, whose chunks were deleted after use.
    assert planned_jobs(said) == {"split_fasta": 4} | IN_A_BATCH | of_each_sample(4)
    for encoder in ENCODERS:
        for label, taken, number in (("flash_1", 6, 8), ("flash_1_sampled", 3, 4)):
            log = (copy / "logs" / "batches" / f"embed_{encoder}_{label}.log").read_text()
            assert f"{taken} of {number} files of embeddings are there" in log
            assert log.count(" frames, ") == number - taken, log
    after = reproducible(copy / "results") | reproducible(copy / "work")
    # But for what is said of all samples.
    assert {name for name in before if after[name] != before[name]} == {"summary.tsv", "report.html"}
    assert {name.split("/")[0] for name in after.keys() - before.keys()} == {"d"}


@pytest.mark.long
def test_a_second_sample_joins_one_that_was_alone_and_embeds_it_no_more(copy: Path) -> None:
    for folder in ("work", "results", "logs"):
        shutil.rmtree(copy / folder)
    write_sheet(copy, "a")
    said = snakemake(copy, **SETTINGS)
    jobs = planned_jobs(said)
    assert (jobs["embed_esm2"], jobs["embed_esm2_sampled"]) == (2, 1)
    write_sheet(copy, "ab")
    snakemake(copy, **SETTINGS)
    for encoder in ENCODERS:
        assert "2 of 4 files" in (copy / "logs" / "batches" / f"embed_{encoder}_flash_1.log").read_text()


@pytest.mark.long
def test_where_embeddings_are_not_kept_the_store_is_empty_after_them(copy: Path) -> None:
    for made in ("work", "results"):
        shutil.rmtree(copy / made)
    snakemake(copy, **SETTINGS, keep="scores")
    stays = [path.name for path in (copy / "work").glob("*/embeddings/*/*")]
    assert {name.partition(".")[2] for name in stays} == {"device_time.json"}
    assert list((copy / "work").glob("*/embeddings/*/.*")) == []


@pytest.mark.long
def test_a_sample_that_fails_in_a_batch_keeps_what_the_others_have_embedded(copy: Path) -> None:
    """Frames that are damaged after they were made; then they are deleted, as the message says."""
    for made in ("results", *(f"work/{sample}/{kind}" for sample in "abc" for kind in ("embeddings", "scores"))):
        shutil.rmtree(copy / made)
    frames = copy / "work" / "b" / "frames" / "00001.parquet"
    frames.write_bytes(frames.read_bytes()[:-20])
    said = snakemake(copy, "--rerun-triggers", "mtime", **SETTINGS, code=1)
    assert "work/b/frames/00001.parquet" in said
    frames.unlink()
    snakemake(copy, **SETTINGS)
    log = (copy / "logs" / "batches" / "embed_esm2_flash_1.log").read_text()
    assert "5 of 6 files of embeddings are there" in log


@pytest.mark.long
def test_a_refused_sample_holds_up_no_other(batched: Path, copy: Path) -> None:
    for made in ("work", "results", "logs"):
        shutil.rmtree(copy / made)
    good = (copy / "b.fa").read_text()
    (copy / "b.fa").write_text(good.replace("A", "J", 1))
    said = snakemake(copy, "--keep-going", **SETTINGS, code=1)
    refused = "compare_attention.py: error: b.fa, line 2: "
    assert f"Failed: b, in compare_attention. logs/compare_attention/b.log ends with:\n    {refused}" in said
    whole = reproducible(batched / "results")
    published = {name for name in whole if name.split("/")[0] in "ac"}
    assert reproducible(copy / "results") == {name: whole[name] for name in published}
    # What is mended is computed, and of the others nothing that takes a model.
    (copy / "b.fa").write_text(good)
    snakemake(copy, **SETTINGS)
    for encoder in ENCODERS:
        for label, taken in (("flash_1", "4 of 6"), ("flash_1_sampled", "2 of 3")):
            log = (copy / "logs" / "batches" / f"embed_{encoder}_{label}.log").read_text()
            assert f"{taken} files of embeddings are there" in log
    assert reproducible(copy / "results") == whole


def test_the_plan_is_made_anew_after_the_gate_only_where_it_may_change(batched: Path) -> None:
    words, asked = "DAG of jobs will be updated after completion", ("-n", "--forceall")
    assert words not in snakemake(batched, *asked, **SETTINGS)
    assert words in snakemake(batched, *asked, **SETTINGS | {"gate": {"frames": 30, "on_failure": "fallback"}})


def test_what_is_set_for_a_rule_holds_for_its_batches(batched: Path) -> None:
    said = snakemake(batched, "-n", "-p", "--forceall", "--set-threads", "embed_esm2=2", **SETTINGS)
    commands = [line for line in said.splitlines() if "embed_esm2.py" in line]
    assert len(commands) == 2 and all("--threads 2 " in command for command in commands)
    said = snakemake(batched, "-n", "-p", "--forceall", "--set-threads", "embed_esm2=1", **SETTINGS)
    assert said.count("--threads 1 ") == 2


@pytest.mark.long
def test_300_small_samples_are_few_jobs(tmp_path: Path) -> None:
    """On a cluster, where each job that asks for a GPU starts a model."""
    names = [f"s{number:03}" for number in range(300)]
    for name in names:
        with (tmp_path / f"{name}.fa").open("wb") as file:
            file.truncate(200_000)
    (tmp_path / "samples.tsv").write_text("sample\tfasta\n" + "".join(f"{name}\t{name}.fa\n" for name in names))
    settings = {"model_pack": SETTINGS["model_pack"], "gate": {"frames": 1000}}
    jobs = Counter(planned_jobs(snakemake(tmp_path, "-n", **settings)))
    on_gpus = sum(number for rule, number in jobs.items() if rule.startswith("embed_"))
    assert on_gpus == 48 and jobs.total() == 1321
