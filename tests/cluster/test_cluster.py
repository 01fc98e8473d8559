"""The real thing: the image in Apptainer, and the workflow on a SLURM whose jobs run in it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cluster import HERE, copy_checkout, run
from helpers import EXAMPLE, REPOSITORY, reproducible, write_fasta
from published import NAME, Published

from virnucflow import __version__
from virnucflow.sequences.fasta import read_fasta

# The test nodes: two cores each, no accounting.
SMALL = ["--set-threads", "embed_esm2=2", "embed_dnabert_s=2", "--latency-wait", "10"]
NODES = [*SMALL, "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3"]

EXAMPLE_PHAGE = Path("resources", "example", "phage_lambda.fasta.gz")
PROGRAMS = ("embed_esm2", "embed_dnabert_s")
# Of a working directory that is copied.
NOTHING_COMPUTED = shutil.ignore_patterns("started", ".snakemake", "work", "results", "logs")


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


def test_image_made_by_apptainer_alone_has_the_same_packages_and_runs_programs(
    image: Path, image_by_apptainer: Path, checkout: Path, folder: Path
) -> None:
    labels = json.loads(run("apptainer", "inspect", "--json", image_by_apptainer))["data"]["attributes"]["labels"]
    assert labels["org.opencontainers.image.version"] == __version__
    code = "import importlib.metadata as m, torch; print(*sorted(f'{d.name}=={d.version}' for d in m.distributions()))"
    assert in_image(image_by_apptainer, "python", "-c", code) == in_image(image, "python", "-c", code)
    bind = ("--bind", str(folder))
    program = checkout / "workflow" / "scripts" / "split_fasta.py"
    chunks, table = folder / "by apptainer" / "chunks", folder / "by apptainer" / "sequences.parquet"
    outputs = ("--chunk-length", "500", "--chunks", chunks, "--sequences", table)
    in_image(image_by_apptainer, "python", program, "--fasta", checkout / EXAMPLE_PHAGE, *outputs, options=bind)
    assert table.exists() and chunks.read_text().startswith(">")  # without --shards one file


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
    run(*command, *NODES, "--slurm-keep-successful-logs", cwd=checkout)
    results = {path.parent.name for path in checkout.glob("results/*/*.sequences.tsv")}
    assert results == {"viral", "cellular"}
    logs = [path.read_text() for path in (checkout / ".snakemake" / "slurm_logs").rglob("*.log")]
    assert len(logs) == 16  # the dry run's jobs without `divergence_gate`, `summarize` and `all`, which run here
    assert all("Activating singularity image containers/virnucflow-" in log for log in logs)
    # A second run has nothing to do.
    assert "Nothing to be done" in run(*command, *NODES, cwd=checkout)


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


MODULE = """
configfile: "mine.yaml"

module virnucflow:
    snakefile: "git+file://{repository}/workflow/Snakefile@v1"
    config: config

use rule * from virnucflow
"""


def test_module_of_a_git_source_runs_in_the_image(
    work: Path, undisturbed: dict[str, bytes], image: Path, folder: Path
) -> None:
    """Where no file of the workflow is in a folder: the image sees those of a commit, below the working directory."""
    repository = copy_checkout(folder / "repository")
    git = ("git", "-c", "user.name=me", "-c", "user.email=me@example.org")
    for command in ("init --quiet", "add --all", "commit --quiet --message one", "tag v1", "rm --quiet -r ."):
        run(*git, *command.split(), cwd=repository)
    assert [path.name for path in repository.iterdir()] == [".git"]
    place = Path(shutil.copytree(work, work.with_name("of git"), ignore=NOTHING_COMPUTED))
    config = yaml.safe_load((place / "config.yaml").read_text())
    del config["container"]  # the default: a file from the working directory
    (place / "mine.yaml").write_text(yaml.safe_dump(config))
    (place / "containers").mkdir()
    os.link(image, place / "containers" / image.name)
    (place / "Snakefile").write_text(MODULE.format(repository=repository))
    run(sys.executable, "-m", "snakemake", "--cores", "2", "--sdm", "apptainer", cwd=place)
    results = reproducible(place / "results")
    made = json.loads(results["phage/phage.run.json"])
    assert made["workflow"]["commit"] == run(*git, "rev-parse", "v1", cwd=repository).strip()
    assert made["container"]["image"] == f"containers/{image.name}"
    differing = {"phage/phage.run.json", "report.html"}  # which both name commit and image
    assert {name: results[name] for name in set(results) - differing} == {
        name: undisturbed[name] for name in set(undisturbed) - differing
    }


def in_directory(checkout: Path, place: Path) -> list[object]:
    command = [sys.executable, "-m", "snakemake", "--snakefile", checkout / "Snakefile"]
    return [*command, "--directory", place, "--configfile", place / "config.yaml"]


@pytest.fixture(scope="module")
def undisturbed(checkout: Path, work: Path) -> dict[str, bytes]:
    """The results of a run in the same image without SLURM."""
    place = Path(shutil.copytree(work, work.with_name("undisturbed"), ignore=NOTHING_COMPUTED))
    run(*in_directory(checkout, place), "--cores", "2", "--sdm", "apptainer")
    return reproducible(place / "results")


@pytest.fixture(scope="module")
def disturbed(slurm: None, work: Path, folder: Path) -> dict[str, list[dict]]:
    """What both embed programs saw whenever they started.

    The node of one goes down, SLURM starts it on the other node, where it fails, and is tried again. The other program
    comes to its time limit, and is tried again.
    """
    planted = copy_checkout(folder / "planted checkout")
    scripts = planted / "workflow" / "scripts"
    shutil.copy(HERE / "planted.py", scripts)
    for program in PROGRAMS:
        text = (scripts / f"{program}.py").read_text()
        (scripts / f"{program}.py").write_text(
            text.replace("from virnucflow", "import planted  # noqa\nfrom virnucflow", 1)
        )
    uncomment_gpu_jobs(planted / "profiles" / "slurm" / "config.yaml")
    command = [*in_directory(planted, work), "--profile", planted / "profiles" / "slurm", *NODES]
    with (work / "said.log").open("w") as said:
        running = subprocess.Popen(list(map(str, command)), stdout=said, stderr=subprocess.STDOUT)
        waiting = [work / "started" / f"{program}.waiting" for program in PROGRAMS]
        while running.poll() is None and not all(path.exists() for path in waiting):
            time.sleep(0.5)
        assert all(path.exists() for path in waiting), (work / "said.log").read_text()
        assert list(work.rglob("*.partial"))
        esm2, dnabert_s = (started(work, program)[0] for program in PROGRAMS)
        run("scontrol", "update", f"JobId={dnabert_s['SLURM_JOB_ID']}", "EndTime=now")
        take_down(esm2["SLURMD_NODENAME"], esm2["SLURM_JOB_ID"], folder / "slurm")
        assert running.wait() == 0, (work / "said.log").read_text()
    run("slurmd", "-N", esm2["SLURMD_NODENAME"])
    return {program: started(work, program) for program in PROGRAMS}


def started(work: Path, program: str) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((work / "started").glob(f"{program}.*.json"))]


def take_down(node: str, job: str, slurm: Path) -> None:
    """What a power cut does to a node: first its slurmd, so that it reports nothing, then what belongs to the job."""
    os.kill(int((slurm / f"slurmd.{node}.pid").read_text()), signal.SIGKILL)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            environment = (process / "environ").read_bytes().split(b"\0")
            if command.startswith(f"slurmstepd: [{job}.".encode()) or f"SLURM_JOB_ID={job}".encode() in environment:
                os.kill(int(process.name), signal.SIGKILL)
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            pass  # of the system, or it has ended


def uncomment_gpu_jobs(profile: Path) -> None:
    """Adapt the profile as its comments say, to this cluster's partition and GPU model."""
    text = profile.read_text()
    block = re.search(r"^# set-resources:\n(#   .+\n)+", text, re.MULTILINE)[0]
    adapted = re.sub("^# ", "", block, flags=re.MULTILINE).replace("GPU_PARTITION", "gpu")
    profile.write_text(text.replace(block, adapted))
    wanted = {"slurm_partition": "gpu", "gpu_model": "h200"}
    resources = yaml.safe_load(profile.read_text())["set-resources"]
    assert resources == dict.fromkeys(["embed_esm2", "embed_dnabert_s", "check_models"], wanted)


def test_two_gpu_jobs_at_a_time_have_different_gpus(disturbed: dict[str, list[dict]]) -> None:
    assert {(starts[0]["SLURMD_NODENAME"], starts[0]["gpu"]) for starts in disturbed.values()} == {
        ("one", "0"),
        ("two", "0"),
    }


def test_job_of_a_node_that_goes_down_is_requeued_on_another(disturbed: dict[str, list[dict]]) -> None:
    first, again, _ = disturbed["embed_esm2"]
    assert first["SLURM_JOB_ID"] == again["SLURM_JOB_ID"]
    assert first["SLURMD_NODENAME"] != again["SLURMD_NODENAME"]


def test_job_over_its_time_limit_is_tried_again(disturbed: dict[str, list[dict]], work: Path) -> None:
    first, _ = disturbed["embed_dnabert_s"]
    state = run("squeue", "--noheader", "--states", "all", "--jobs", first["SLURM_JOB_ID"], "--format", "%T")
    assert state.strip() == "TIMEOUT" and "SLURM status is: 'TIMEOUT'" in (work / "said.log").read_text()


def test_second_attempt_has_more_memory_and_time(disturbed: dict[str, list[dict]]) -> None:
    for first, *_, second in disturbed.values():
        (memory, minutes), (more_memory, more_minutes) = asked_for(first), asked_for(second)
        assert more_memory == pytest.approx(2 * memory, rel=0.01)
        assert more_minutes > minutes or first is disturbed["embed_dnabert_s"][0]  # its limit was moved
        assert more_minutes >= 40


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
    command = [sys.executable, "-m", "snakemake", "--profile", "slurm", *NODES]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True)
    assert done.returncode == 1
    said = f"container: containers/virnucflow-{__version__}.sif is not there; build it with 'containers/build.sh'"
    assert said in done.stderr and "has been submitted" not in done.stderr
    run(*command, "--dry-run", cwd=place)


def test_failed_run_ends_with_why_and_bad_input_is_tried_once(slurm: None, checkout: Path, work: Path) -> None:
    place = Path(shutil.copytree(work, work.with_name("failing"), ignore=NOTHING_COMPUTED))
    write_fasta(place / "protein.fa", {"p": "MKVLAAGIVG"})
    (place / "samples.tsv").write_text("sample\tfasta\nbad\tprotein.fa\n")
    command = [*in_directory(checkout, place), "--profile", checkout / "profiles" / "slurm", *NODES]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 1 and said.count("has been submitted with SLURM jobid") == 1, said
    assert said.count("split_fasta.py: error: protein.fa, line 2: ") == 1, said
    assert "Failed: bad, in split_fasta. logs/split_fasta/bad.log ends with:" in said


def without_image(checkout: Path, place: Path, device: str = "cpu") -> list[object]:
    """A run of the programs as they are here, which starts sooner."""
    return [*in_directory(checkout, place), "--config", "container=", f"device={device}"]


def tables(place: Path, sample: str = "phage") -> dict[str, bytes]:
    names = (f"{sample}.sequences.tsv", "prediction_results.txt", "prediction_results_highestscore.csv")
    return {name: (place / "results" / sample / name).read_bytes() for name in names}


def test_ten_small_samples_run_as_a_batch_and_shards_of_a_large_one_as_arrays(
    slurm: None, checkout: Path, work: Path, folder: Path
) -> None:
    place = folder / "many"
    place.mkdir()
    phage = next(read_fasta(EXAMPLE / "phage_lambda.fasta.gz")).sequence
    rows = [f"phage\t{folder / 'input' / 'phage.fa'}\n"]
    rows += [f"s{i}\t{write_fasta(place / f's{i}.fa', {f's{i}': phage[i * 600 :][:600]})}\n" for i in range(10)]
    (place / "samples.tsv").write_text("sample\tfasta\n" + "".join(rows))
    settings = {"samples": "samples.tsv", "gate": {"frames": 0}, "shards": 3, "shard_megabases": 0.05}
    (place / "config.yaml").write_text(yaml.safe_dump(settings))
    command = [*without_image(checkout, place), "--profile", checkout / "profiles" / "slurm", *NODES]
    refused = subprocess.run(list(map(str, [*command, "--jobs", "10"])), capture_output=True, text=True)
    said = refused.stdout + refused.stderr
    assert refused.returncode == 1 and "job arrays lose some" in said and "has been submitted" not in said
    said = run(*command)
    arrays = re.findall(
        r"Submitted array job with Snakemake IDs \S+ and SLURM job ID \d+. .*tasks? IDs are (\S+)", said
    )
    # Those of translate_frames are ready together; of later steps those whose files are seen together.
    assert arrays[0] == "1-3."
    assert len(re.findall(r"rule embed_esm2_flash_1:|Embed the proteins of 10 samples", said)) == 1
    assert {path.parent.name for path in place.glob("results/*/*.sequences.tsv")} == {
        "phage",
        *(f"s{i}" for i in range(10)),
    }


@pytest.fixture(scope="module")
def generic(slurm: None, checkout: Path, work: Path) -> Path:
    """A run of the generic executor, with the profile as it is."""
    place = Path(shutil.copytree(work, work.with_name("generic"), ignore=NOTHING_COMPUTED))
    profile = Path(shutil.copytree(checkout / "profiles" / "generic", place / "profiles" / "generic"))
    said = run(*without_image(checkout, place), "--profile", profile, *SMALL)
    assert said.count("with external jobid") == 7
    return place


def test_generic_executor_gives_the_same_results(generic: Path, undisturbed: dict[str, bytes], work: Path) -> None:
    assert tables(generic) == tables(work.with_name("undisturbed"))


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ("COMPLETED", "success"),
        ("TIMEOUT", "failed"),
        ("CANCELLED by 0", "failed"),
        ("PENDING", "running"),
        ("", "running"),
    ],
)
def test_status_of_a_job_in_the_words_of_the_generic_executor(state: str, word: str, tmp_path: Path) -> None:
    (tmp_path / "squeue").write_text(f"#!/bin/sh\nprintf '%s' '{state}'\n")
    (tmp_path / "squeue").chmod(0o755)
    (tmp_path / "sacct").symlink_to("/bin/true")
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert run(REPOSITORY / "profiles" / "generic" / "status.sh", "7", environment=path).strip() == word


def test_a_gpu_that_no_node_has_ends_the_run(generic: Path, checkout: Path) -> None:
    place = Path(shutil.copytree(generic, generic.with_name("no such gpu")))
    command = [*without_image(checkout, place, "auto"), "--profile", checkout / "profiles" / "slurm", *NODES]
    command += ["--set-resources", *(f"{program}:gpu_model=a100" for program in PROGRAMS)]
    done = subprocess.run([*map(str, command), "--forcerun", "embed_esm2"], capture_output=True, text=True, timeout=300)
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "Requested node configuration is not available" in said, said
    assert "Failed: phage, in embed_esm2" in said


@pytest.fixture
def full_disk(generic: Path) -> Iterator[Path]:
    """A working directory whose `work` is a disk of its own, with frames and without room for embeddings."""
    place = Path(shutil.copytree(generic, generic.with_name("full disk"), ignore=shutil.ignore_patterns("results")))
    shutil.move(place / "work", place / "done")
    (place / "work").mkdir()
    run("mount", "--types", "tmpfs", "--options", "size=1m", "none", place / "work")
    try:
        computed = shutil.ignore_patterns("embeddings", "scores", "features", ".*")
        shutil.copytree(place / "done", place / "work", dirs_exist_ok=True, ignore=computed)
        free = shutil.disk_usage(place / "work").free
        (place / "work" / "others").write_bytes(bytes(free - 4096))
        yield place
    finally:
        run("umount", place / "work")


def test_a_full_disk_is_told_in_one_line_and_leaves_nothing_half_written(full_disk: Path, checkout: Path) -> None:
    command = [*without_image(checkout, full_disk), "--profile", checkout / "profiles" / "slurm", *NODES]
    command += ["--retries", "0", "--rerun-triggers", "mtime"]

    def fails(*options: str) -> str:
        done = subprocess.run([*map(str, command), *options], capture_output=True, text=True)
        assert done.returncode == 1, done.stdout + done.stderr
        return done.stdout + done.stderr

    said = fails()
    assert "nothing was started" in said and "has been submitted" not in said
    fails("--no-hooks")
    logs = [path.read_text() for path in full_disk.glob("logs/embed_*/**/*.log")]
    assert logs and all("make room" in log.splitlines()[-1] for log in logs), logs
    assert not list((full_disk / "work").rglob("*.partial")) and not list((full_disk / "work").rglob("*.safetensors"))
    (full_disk / "work" / "others").unlink()
    run(*command)
    assert tables(full_disk)


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
