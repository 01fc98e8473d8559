# What happens before the first job and after the last. Another workflow that takes this one as a module has its own.

import atexit
import subprocess

from planning.closing import closing_words
from planning.setup import null_separated, setup_options

LOGS = {}  # those that are there before the first job, with their times


def check_setup():
    """Stop before the first job when something is wrong that would show after hours."""
    jobs = list(workflow.dag.needrun_jobs())
    if any(job.rule.name == "fetch_models" for job in jobs):
        return  # what would be checked is not there yet
    samples = {job.wildcards.sample for job in workflow.dag.jobs if "sample" in job.wildcards.keys()}
    options = setup_options(
        config,
        bases=sum(map(embedded_bases, samples)),
        outputs=[path for job in workflow.dag.jobs for path in job.output],
        attentions=set(map(attention, SAMPLES)) if ON_THIS_MACHINE else (),
        commands=host.commands_of_executor(workflow),
        requirements=host.REQUIREMENTS if PROGRAMS_RUN_HERE else None,
    )
    outputs = {path for job in jobs for path in job.output}
    names = null_separated(sorted({path for job in jobs for path in job.input} - outputs))
    command = [sys.executable, str(host.SCRIPTS / "check_setup.py"), *options, "--inputs"]
    if subprocess.run(command, input=names).returncode:
        raise host.Refused("nothing was started, because of what check_setup.py says above")


def check_image():
    """Stop before a job is submitted when the image is a file that is not there."""
    if CONTAINED and IMAGE and (problems := missing_image(IMAGE, BUILD)):
        raise host.Refused(*problems)


def check_arrays():
    """Stop before a job is submitted where some would get lost."""
    if lost := host.lost_in_arrays(workflow, sum(not job.is_local for job in workflow.dag.needrun_jobs())):
        raise host.Refused(lost)


def note_logs():
    LOGS.update((log, host.time_of_change(log)) for job in workflow.dag.needrun_jobs() for log in job.log)


def say_closing_words():
    """Say once what there is to tell the user after a run; with --quiet only what failed, with --quiet all nothing."""
    atexit.unregister(say_closing_words)
    if host.is_quiet(workflow, "all"):
        return
    last = [job for job in workflow.dag.jobs if job.rule.name in ("write_results", "call_pairs", "divergence_gate")]
    unfinished = {job.wildcards.sample for job in last if not workflow.dag.noneedrun_finished(job)}
    written = {job.wildcards.sample for job in last if job.rule.name == "write_results"}
    ready, missing = ([one for one in SAMPLES if one in samples] for samples in (written - unfinished, unfinished))
    summarized = (job for job in workflow.dag.jobs if job.rule.name == "summarize")
    page = next((job.output.page for job in summarized if workflow.dag.noneedrun_finished(job)), None)
    if host.is_quiet(workflow, "progress"):
        ready, page = [], None
    failures = list(host.failures(workflow, LOGS))
    if words := closing_words(ready, failures, missing, page, colour=host.takes_colour(workflow)):
        print(words)


def prepare():
    """What comes before the first job. Where there is but the estimate, nothing has to be ready."""
    jobs = list(workflow.dag.needrun_jobs())
    if {job.rule.name for job in jobs} == {"estimate"}:
        return
    check_image()
    check_arrays()
    check_setup()
    note_logs()
    if not host.is_quiet(workflow, "progress"):
        watch_progress(jobs, say_estimate(jobs), LOGS)


onstart:
    prepare()
    # For a run that Snakemake breaks off without calling onerror, because it cannot write its own files for example.
    atexit.register(say_closing_words)


onsuccess:
    say_closing_words()


onerror:
    say_closing_words()
