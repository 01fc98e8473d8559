# What run.json says of a run besides what the programs know: the settings of a sample's results, as a parameter, and, as
# resources and so no reason to compute anything again, the workflow's commit, the image, and when the jobs began.

from planning import provenance
from snakemake import __version__ as snakemake_version


def get_settings(wildcards):
    sample = wildcards.sample
    return provenance.settings_of_results(config, attention(sample), is_gated(sample), len(shards(sample)))


def get_image_sha256(wildcards):
    """Of the image in which programs run, as a file; computed when the first results are about to be written."""
    file = host.image_file(workflow, IMAGE) if CONTAINED and not workflow.dryrun else None
    return provenance.sha256_of_file(file) if file else ""
