# What a run costs, before anything is computed: when it is asked for, and in three lines at the start of each run. And
# how far it is with what costs most.

from collections import Counter
from functools import partial

from planning import estimate as estimates
from planning.progress import Embedding, progress_line, watch


def run_to_estimate(shares=None):
    """What is known of the whole run, or of what is left of it: a share of the shards of some samples."""
    names = SAMPLES if shares is None else shares
    counts, total = estimates.count_samples(
        host.SCRIPTS / "count_frames.py", [SAMPLES[name] for name in names], config, SCORED_FRAMES
    )
    if shares is not None:
        counts, total = estimates.remaining(counts, total, shares)
    return estimates.Run(
        pack=PACK,
        config=config,
        scopes=EMBEDDED_SCOPES,
        attentions={name: attention(name) for name in names},
        shards={name: len(shards(name)) for name in names},
        gated=[name for name in names if is_gated(name)],
        paired=sum(SAMPLES[name].may_have_pairs for name in names),
        samples=counts,
        total=total,
    )


def write_estimate(table, log):
    """Print the estimate of the whole run, and write it as a table and for people."""
    with host.refusing():
        run = run_to_estimate()
    words = estimates.described(run)
    for path, text in ((table, estimates.as_table(estimates.rows(run))), (log, words)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")
    print(f"{words}\nAs a table, with each sample and the errors: {table}", flush=True)


def jobs_that_embed(jobs):
    """Those of some jobs that embed what is published, with the encoder and the shards of each, by sample."""
    scopes = {scope.rule(f"embed_{name}"): (name, scope) for name, scope in product(ENCODERS, SCOPES)}
    for job in jobs:
        if job.rule.name in scopes and job.wildcards.get("shard") != SAMPLED:
            encoder, scope = scopes[job.rule.name]
            of_batch = {member.name: len(member.shards) for member in scope.members}
            yield job, encoder, of_batch or {job.wildcards.sample: 1}


def say_estimate(jobs):
    """Say what a run with these jobs takes, where it embeds anything; gives the frames that it embeds, about."""
    shares = Counter()
    for _, encoder, numbers in jobs_that_embed(jobs):
        for name, number in numbers.items() if encoder == ESM2.name else ():
            shares[name] += number / len(shards(name))
    if not shares:
        return 0
    try:
        run = run_to_estimate(dict(shares))
    except PlanningError as error:
        print(f"No estimate of this run: {error}", flush=True)
        return 0
    cores = workflow.resource_settings.cores if ON_THIS_MACHINE and not GPUS_HERE else None
    print(estimates.words_at_start(run, len(jobs), cores), flush=True)
    return run.total["frames"][0]


def watch_progress(jobs, frames, earlier_logs):
    """Say each minute how far the run is, on a terminal."""
    embeddings = [
        Embedding(
            encoder,
            sum(numbers.values()),
            Path(job.log[0]),
            partial(workflow.dag.finished, job),
            lambda log=job.log[0]: host.time_of_change(log) not in (None, earlier_logs.get(log)),
        )
        for job, encoder, numbers in jobs_that_embed(jobs)
    ]
    if embeddings and sys.stderr.isatty():
        watch(partial(print, file=sys.stderr, flush=True), partial(progress_line, embeddings, frames))
