# What happens before the first job and after the last. Another workflow that takes this one as a module has its own.

import atexit
import subprocess

from planning.closing import Failure, closing_words

LOGS = {}  # those that are there before the first job, with their times


def check_setup():
    """Stop before the first job when something is wrong that would show after hours."""
    jobs = list(workflow.dag.needrun_jobs())
    if any(job.rule.name == "fetch_models" for job in jobs):
        return  # what would be checked is not there yet
    samples = {job.wildcards.sample for job in workflow.dag.jobs if "sample" in job.wildcards.keys()}
    command = [sys.executable, SCRIPTS / "check_setup.py", "--work", "work", "--chunk-length", config["chunk_length"]]
    command += ["--bases", sum(estimated_bases(path) for sample in samples for path in SAMPLES[sample].fasta)]
    command += ["--there", sum(map(size, {path for job in workflow.dag.jobs for path in job.output}))]
    command += ["--model", argument(config["model_pack"])] if config["model_pack"] != UNTRAINED else []
    if ON_THIS_MACHINE:
        command += ["--device", config["device"], "--precision"]
        command += {config["precision"][attention(sample)] for sample in SAMPLES}
    command += ["--commands", *slurm_commands()]
    command += ["--requirements", ROOT / "envs" / "programs.txt"] if PROGRAMS_RUN_HERE else []
    made = {path for job in jobs for path in job.output}
    given = sorted({path for job in jobs for path in job.input} - made)
    names = "".join(f"{path}\0" for path in given).encode("utf-8", "surrogateescape")
    if subprocess.run([*map(str, command), "--inputs"], input=names).returncode:
        raise Refused("nothing was started, because of what check_setup.py says above")


def size(path):
    """Of an output that is below work/ already: it is kept, or written anew in its own place."""
    if not path.startswith("work/"):
        return 0
    files = Path(path).rglob("*") if os.path.isdir(path) else [Path(path)]
    return sum(file.stat().st_size for file in files if file.is_file())


def slurm_commands():
    """What the executor calls to submit jobs, to see how they are, and to cancel them."""
    if workflow.executor_plugin.name != "slurm":
        return []
    return ["sbatch", "scancel", workflow.executor_settings.status_command or "sacct|squeue"]


def note_logs():
    LOGS.update((log, changed(log)) for job in workflow.dag.needrun_jobs() for log in job.log)


def changed(log):
    return os.stat(log).st_mtime_ns if os.path.exists(log) else None


def failures():
    """The jobs that failed for good, each with its log, if it wrote that in this run."""
    for job in workflow.scheduler.failed if workflow.scheduler else []:
        for one in job.jobs if job.is_group() else [job]:
            new = [Path(log) for log in one.log if changed(log) not in (None, LOGS.get(log))]
            yield Failure(one.rule.name, one.wildcards.get("sample"), next(iter(new), None))


def say_closing_words():
    """Say once what there is to tell the user after a run."""
    atexit.unregister(say_closing_words)
    last = [job for job in workflow.dag.jobs if job.rule.name in ("write_results", "report_divergence")]
    unfinished = {job.wildcards.sample for job in last if not workflow.dag.noneedrun_finished(job)}
    written = {job.wildcards.sample for job in last if job.rule.name == "write_results"}
    ready, missing = ([sample for sample in SAMPLES if sample in found] for found in (written - unfinished, unfinished))
    if words := closing_words(ready, list(failures()), missing):
        print(words)


onstart:
    check_image()
    check_setup()
    note_logs()
    # For a run that Snakemake breaks off without calling onerror, because it cannot write its own files for example.
    atexit.register(say_closing_words)


onsuccess:
    say_closing_words()


onerror:
    say_closing_words()
