# What run.json says of a run besides what the programs know: the settings of a sample's results, and, as resources and so
# no reason to compute anything again, the workflow's version, the image, and when the sample's jobs began.

import datetime
import hashlib
import subprocess

from snakemake import __version__ as snakemake_version


def settings_of_results(sample):
    """The settings that change results of this sample, as JSON, with the number of shards that two of them gave.

    The model pack is known from the scores, and `rna` from the table of sequences.
    """
    path = attention(sample)
    names = ["chunk_length", "duplicate_ids", "min_residues", "device"]
    names += ["attention_kernel"] if path == "flash" else []
    names += ["gate"] if gated(sample) else []
    chosen = {name: config[name] for name in names}
    precision = {name: config["precision"][name] for name in [path] + ["standard_allows"] * (path == "standard")}
    chosen |= {"attention": path, "precision": precision, "shards": len(shards(sample))}
    return json.dumps(chosen, sort_keys=True)


@cache
def commit():
    """Of the workflow's checkout, with `-dirty` where files were changed since; empty when it is no checkout."""
    if not (ROOT / ".git").exists():
        return ""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""  # no git, or a checkout that git does not trust


def started(path):
    """When the job that made a file began, in UTC, as Snakemake noted it; empty when it did not."""
    noted = workflow.persistence.metadata(path)
    if noted is None or noted.starttime is None:
        return ""
    return datetime.datetime.fromtimestamp(noted.starttime, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def image_sha256():
    """Of the image in which programs run, as a file; computed when the first results are about to be written."""
    found = workflow.dag.container_imgs.get(image()) if CONTAINED and not workflow.dryrun else None
    return sha256_of_image(found.path) if found and os.path.exists(found.path) else ""


@cache
def sha256_of_image(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
