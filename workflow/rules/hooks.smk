# What happens before the first job and after the last. Another workflow that takes this one as a module has its own.

import subprocess


def check_setup():
    """Stop before the first job when something is wrong that would show after hours."""
    if any(job.rule.name == "fetch_models" for job in workflow.dag.jobs):
        return  # what would be checked is not there yet
    command = [sys.executable, program("check_setup"), "--work", "work", "--chunk-length", config["chunk_length"]]
    command += ["--bases", sum(estimated_bases(path) for sample in SAMPLES.values() for path in sample.fasta)]
    command += ["--model", argument(config["model"])] if config["model"] != UNTRAINED else []
    if ON_THIS_MACHINE:
        command += ["--device", config["device"], "--precision"]
        command += {config["precision"][attention(sample)] for sample in SAMPLES}
    if subprocess.run(list(map(str, command))).returncode:
        raise WorkflowError("nothing was started, because of what check_setup.py says above")


def closing_words():
    """What to tell the user after a run: where the results are, and what to beware of."""
    words = []
    for sample in SAMPLES:
        if not os.path.exists(f"results/{sample}/run.json"):
            continue  # another target was asked for
        run = json.loads(Path(f"results/{sample}/run.json").read_text())
        warning = "" if run["trained"] else f" (model {run['model']} is untrained: these results mean nothing)"
        if (gate := run["divergence"]) and gate["decision"] != "accept":
            warning += f" ({gate['decision']}: {gate['message']}; published are those of attention {gate['attention']})"
        words.append(f"Results of {sample}: results/{sample}/{warning}")
    return "\n".join(words)


onstart:
    check_image()
    check_setup()


onsuccess:
    print(closing_words())
