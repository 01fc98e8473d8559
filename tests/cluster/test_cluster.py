"""The real thing: the image in Apptainer, and the workflow on a SLURM whose jobs run in it."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from cluster import HERE, copy_checkout, run
from helpers import EXAMPLE, REPOSITORY, reproducible, write_fasta
from published import NAME, Published

from virnucflow import __version__
from virnucflow.sequences.fasta import read_fasta

# The test node: two cores, no accounting.
NODE = ["--set-threads", "embed_esm2=2", "embed_dnabert_s=2", "--slurm-status-command", "squeue"]
NODE += ["--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "10"]


def in_image(image: Path, *command: object, options: tuple[str, ...] = (), user: tuple[str, ...] = ()) -> str:
    return run(*user, "apptainer", "--quiet", "exec", *options, image, *command, cwd="/")


def test_image_is_named_and_labelled_with_its_version(image: Path) -> None:
    assert image.name == f"virnucflow-{__version__}.sif"
    labels = json.loads(run("apptainer", "inspect", "--json", image))["data"]["attributes"]["labels"]
    assert labels["org.opencontainers.image.version"] == __version__


def test_image_has_the_pinned_packages_and_no_program_of_the_workflow(image: Path) -> None:
    code = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()), sep='\\n')"
    there = {line.split("+")[0] for line in in_image(image, "python", "-c", code).splitlines()}
    pins = re.findall(r"^[\w.-]+==\S+$", (REPOSITORY / "envs" / "programs.txt").read_text(), re.MULTILINE)
    assert pins and set(pins) <= there
    assert in_image(image, "find", "/opt", "/usr", "/home", "-name", "embed_esm2.py") == ""


def test_image_serves_any_user_without_a_home(image: Path) -> None:
    code = "import os, torch, esm, matplotlib.pyplot as p; p.plot([1]); p.savefig('/dev/null', format='svg'); "
    code += "print(os.getuid(), os.access(os.environ['HOME'], os.W_OK), os.environ['TRITON_CACHE_DIR'])"
    user = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "env", "HOME=/nonexistent")
    number, home_writable, cache = in_image(image, "python", "-c", code, options=("--no-home",), user=user).split()
    assert number != "0" and home_writable == "False"
    # Gone with the process that made it.
    assert re.fullmatch(r"/tmp/virnucflow-\w+/triton", cache) and not Path(cache).parent.exists()


def test_image_can_compile_what_triton_compiles_on_a_gpu(image: Path, tmp_path: Path) -> None:
    (tmp_path / "launcher.c").write_text(
        "#include <Python.h>\n"
        'static struct PyModuleDef launcher = {PyModuleDef_HEAD_INIT, "launcher"};\n'
        "PyMODINIT_FUNC PyInit_launcher(void) { return PyModule_Create(&launcher); }\n"
    )
    code = "import subprocess, sysconfig; include = sysconfig.get_paths()['include']; subprocess.check_call("
    code += "['gcc', 'launcher.c', '-shared', '-fPIC', '-I', include, '-o', 'launcher.so']); import launcher"
    in_image(image, "sh", "-c", f'cd {tmp_path} && python -c "{code}"')


def test_example_runs_on_slurm_in_containers(slurm: None, checkout: Path) -> None:
    command = [sys.executable, "-m", "snakemake", "--profile", "slurm", "--config", "device=cpu"]
    run(*command, *NODE, "--slurm-keep-successful-logs", cwd=checkout)
    results = {path.parent.name for path in checkout.glob("results/*/*.sequences.tsv")}
    assert results == {"viral", "cellular"}
    logs = [path.read_text() for path in (checkout / ".snakemake" / "slurm_logs").rglob("*.log")]
    assert len(logs) == 16  # the dry run's jobs without `divergence_gate`, `summarize` and `all`, which run here
    assert all("Activating singularity image containers/virnucflow-" in log for log in logs)
    # A second run has nothing to do.
    assert "Nothing to be done" in run(*command, *NODE, cwd=checkout)


@pytest.fixture(scope="module")
def work(folder: Path, image: Path) -> Path:
    """A working directory elsewhere, whose input lies in yet another folder."""
    place = folder / "work here"
    (folder / "input").mkdir()
    place.mkdir()
    phage = next(read_fasta(EXAMPLE / "phage_lambda.fasta.gz")).sequence
    fasta = write_fasta(folder / "input" / "phage.fa", {"one": phage[:9000], "two": phage[9000:9300]})
    (place / "samples.tsv").write_text(f"sample\tfasta\nphage\t{fasta}\n")
    config = {"samples": "samples.tsv", "gate": {"frames": 0}, "container": str(image)}
    (place / "config.yaml").write_text(yaml.safe_dump(config))
    return place


def in_directory(checkout: Path, place: Path) -> list[object]:
    command = [sys.executable, "-m", "snakemake", "--snakefile", checkout / "Snakefile"]
    return [*command, "--directory", place, "--configfile", place / "config.yaml"]


@pytest.fixture(scope="module")
def undisturbed(checkout: Path, work: Path) -> dict[str, bytes]:
    """The results of a run in the same image without SLURM."""
    place = Path(shutil.copytree(work, work.with_name("undisturbed")))
    run(*in_directory(checkout, place), "--cores", "2", "--sdm", "apptainer")
    return reproducible(place / "results")


@pytest.fixture(scope="module")
def disturbed(slurm: None, work: Path, folder: Path) -> dict[str, list[dict]]:
    """What both attempts of both embed jobs saw; of the first ones one failed, and one was cancelled by the cluster."""
    planted = copy_checkout(folder / "planted checkout")
    scripts = planted / "workflow" / "scripts"
    shutil.copy(HERE / "planted.py", scripts)
    for program in ("embed_esm2", "embed_dnabert_s"):
        text = (scripts / f"{program}.py").read_text()
        (scripts / f"{program}.py").write_text(
            text.replace("from virnucflow", "import planted  # noqa\nfrom virnucflow", 1)
        )
    uncomment_gpu_jobs(planted / "profiles" / "slurm" / "config.yaml")
    command = [*in_directory(planted, work), "--profile", planted / "profiles" / "slurm", *NODE]
    with (work / "said.log").open("w") as said:
        running = subprocess.Popen(list(map(str, command)), stdout=said, stderr=subprocess.STDOUT)
        waiting = work / "started" / "waiting"
        while running.poll() is None and not waiting.exists():
            time.sleep(0.5)
        assert waiting.exists(), (work / "said.log").read_text()
        assert list(work.rglob("*.partial"))
        seen = json.loads((work / "started" / "embed_dnabert_s.1.json").read_text())
        run("scancel", seen["SLURM_JOB_ID"])
        assert running.wait() == 0, (work / "said.log").read_text()
    programs = ("embed_esm2", "embed_dnabert_s")
    return {p: [json.loads(f.read_text()) for f in sorted((work / "started").glob(f"{p}.*.json"))] for p in programs}


def uncomment_gpu_jobs(profile: Path) -> None:
    """Adapt the profile as its comments say, to this cluster's partition and GPU model."""
    text = profile.read_text()
    block = re.search(r"^# set-resources:\n(# .+\n)+", text, re.MULTILINE)[0]
    adapted = re.sub("^# ", "", block, flags=re.MULTILINE).replace("GPU_PARTITION", "gpu")
    profile.write_text(text.replace(block, adapted))
    wanted = {"slurm_partition": "gpu", "gpu_model": "h200"}
    resources = yaml.safe_load(profile.read_text())["set-resources"]
    assert resources == dict.fromkeys(["embed_esm2", "embed_dnabert_s", "check_models"], wanted)


def test_two_gpu_jobs_at_a_time_have_different_gpus(disturbed: dict[str, list[dict]]) -> None:
    assert {attempts[0]["gpu"] for attempts in disturbed.values()} == {"0", "1"}


def test_second_attempt_has_more_memory_and_time(disturbed: dict[str, list[dict]]) -> None:
    for first, second in disturbed.values():
        (memory, minutes), (more_memory, more_minutes) = asked_for(first), asked_for(second)
        assert more_memory == pytest.approx(2 * memory, rel=0.01)
        assert minutes >= 20 and more_minutes == pytest.approx(2 * minutes, abs=1)  # parts of a minute are a whole one


def asked_for(attempt: dict) -> tuple[float, int]:
    """Memory and minutes that SLURM says a job asked for."""
    job = ("--states", "all", "--jobs", attempt["SLURM_JOB_ID"])
    memory, limit = run("squeue", "--noheader", *job, "--format", "%m %l").split()
    hours, minutes = ["0", *limit.split(":")][-3:-1]
    return float(memory[:-1]) * {"M": 1, "G": 1024}[memory[-1]], 60 * int(hours) + int(minutes)


def test_results_equal_those_of_an_undisturbed_run(
    disturbed: dict[str, list[dict]], undisturbed: dict[str, bytes], work: Path
) -> None:
    assert {Path(name).name for name in undisturbed} >= {
        "phage.sequences.tsv",
        "prediction_results.txt",
        "phage.run.json",
    }
    assert reproducible(work / "results") == undisturbed
    assert not list(work.rglob("*.partial"))


def test_programs_run_in_the_image_from_another_directory(disturbed: dict[str, list[dict]], image: Path) -> None:
    assert {attempt["APPTAINER_CONTAINER"] for attempts in disturbed.values() for attempt in attempts} == {str(image)}


def test_missing_image_stops_the_run_before_a_job_is_submitted(slurm: None, folder: Path) -> None:
    place = copy_checkout(folder / "without_image")
    command = [sys.executable, "-m", "snakemake", "--profile", "slurm", *NODE]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True)
    assert done.returncode == 1
    said = f"container: containers/virnucflow-{__version__}.sif is not there; build it with 'containers/build.sh'"
    assert said in done.stderr and "has been submitted" not in done.stderr
    run(*command, "--dry-run", cwd=place)


def test_failed_run_ends_with_why_and_bad_input_is_tried_once(slurm: None, checkout: Path, work: Path) -> None:
    place = Path(
        shutil.copytree(work, work.with_name("failing"), ignore=shutil.ignore_patterns("started", ".snakemake"))
    )
    write_fasta(place / "protein.fa", {"p": "MKVLAAGIVG"})
    (place / "samples.tsv").write_text("sample\tfasta\nbad\tprotein.fa\n")
    command = [*in_directory(checkout, place), "--profile", checkout / "profiles" / "slurm", *NODE]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 1 and said.count("has been submitted with SLURM jobid") == 1, said
    assert said.count("split_fasta.py: error: protein.fa, line 2: ") == 1, said
    assert "Failed: bad, in split_fasta. logs/split_fasta/bad.log ends with:" in said


@pytest.fixture(scope="module")
def elsewhere(folder: Path) -> Path:
    """A working directory whose models, sources and catalogue lie in folders beside it; some are yet to be made."""
    place = folder / "elsewhere"
    (place / "catalogue").mkdir(parents=True)
    (place / "here").mkdir()
    Published(place / "by hand").write_catalogue(place / "catalogue" / "mine.yaml")
    phage = next(read_fasta(EXAMPLE / "phage_lambda.fasta.gz")).sequence
    names = [f"{label}{number}" for label in ("virus", "others") for number in range(20)]
    write_fasta(place / "here" / "a.fa", {name: phage[i * 1200 :][:1200] for i, name in enumerate(names)})
    parts = ("train", "train", "validation", "test")
    rows = [f"{name}\t{name.rstrip('0123456789')}\t{parts[i % 4]}\n" for i, name in enumerate(names)]
    (place / "here" / "labels.tsv").write_text("sequence_id\tlabel\tsplit\n" + "".join(rows))
    (place / "here" / "samples.tsv").write_text("sample\tfasta\tlabels\na\ta.fa\tlabels.tsv\n")
    return place


def test_models_are_read_and_made_outside_the_working_directory(checkout: Path, elsewhere: Path, image: Path) -> None:
    config = {"samples": "samples.tsv", "container": str(image), "device": "cpu"}
    config |= {"catalogue": "../catalogue/mine.yaml", "published_files": str(elsewhere / "by hand")}
    config |= {"model_pack": str(elsewhere / "packs" / "new" / NAME)}
    trained_pack = str(elsewhere / "made" / "of" / "mine")
    config["training"] = {"trained_pack": trained_pack, "split_by": "split", "epochs": 2, "hidden": 8}
    (elsewhere / "here" / "config.yaml").write_text(yaml.safe_dump(config))
    command = [*in_directory(checkout, elsewhere / "here"), "--sdm", "apptainer", "--cores", "2"]
    run(*command, "fetch_models")
    assert (elsewhere / "packs" / "new" / NAME / "pack.json").exists()
    run(*command, "train")
    pack = json.loads((elsewhere / "made" / "of" / "mine" / "pack.json").read_text())
    assert all((elsewhere / "made" / "of" / "mine" / name).exists() for name in pack["sha256"])
    assert {path.name for path in elsewhere.iterdir()} == {"by hand", "catalogue", "here", "made", "packs"}
