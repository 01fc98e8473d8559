# VirNucFlow: viral sequences, found with six-frame translation and two language models.
# A picture of what runs: snakemake --rulegraph mermaid-js. All settings: config/config.yaml.

from snakemake.utils import min_version

min_version("9.27")


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/container.smk"
include: "workflow/rules/provenance.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/sequences.smk"
include: "workflow/rules/embeddings.smk"
include: "workflow/rules/predictions.smk"
include: "workflow/rules/divergence.smk"
include: "workflow/rules/hooks.smk"


if not same_directory(config["trained_model"], config["model"]):  # a pack in use is not trained over

    include: "workflow/rules/training.smk"


rule all:
    default_target: True
    input:
        expand(rules.write_results.output, sample=SAMPLES),
        expand(rules.report_divergence.output, sample=filter(gated, SAMPLES)),
