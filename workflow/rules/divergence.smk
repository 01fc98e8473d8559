# The gate: the fast path against v1's, in fp32, on a sample of each run's frames, before anything is published.
# The sample is a shard like any other, named "sampled": the rules of embeddings.smk and predict compute it.


rule sample_frames:
    input:
        frames=get_files_of_shards("work/{sample}/frames/{shard}.parquet"),
        scores=get_files_of_shards("work/{sample}/scores/flash/{shard}.parquet"),
    output:
        sampled_frames=f"work/{{sample}}/frames/{SAMPLED}.parquet",
        sample="work/{sample}/divergence/sample.parquet",
    log:
        "logs/sample_frames/{sample}.log",
    retries: 0
    conda:
        "../../envs/programs.yaml"
    threads: 1
    resources:
        mem_mb=sample_memory,
        runtime=reading_runtime,
    params:
        program=program("sample_frames"),
        code=code("sample_frames"),
        chunk_length=config["chunk_length"],
        number=config["gate"]["frames"],
        seed=config["gate"]["seed"],
    message:
        "Sample frames of {wildcards.sample} to compare both attentions"
    shell:
        "python {params.program:q} --frames {input.frames:q} --scores {input.scores:q}"
        " --chunk-length {params.chunk_length} --number {params.number} --seed {params.seed}"
        " --sampled-frames {output.sampled_frames:q} --sample {output.sample:q} 2> {log:q}"


rule compare_attention:
    input:
        sample="work/{sample}/divergence/sample.parquet",
        fast_features=get_files_of_shards("work/{sample}/features/flash/{shard}.safetensors"),
        fast_scores=get_files_of_shards("work/{sample}/scores/flash/{shard}.parquet"),
        reference_features=[f"work/{{sample}}/features/standard/{SAMPLED}.safetensors"],
        reference_scores=[f"work/{{sample}}/scores/standard/{SAMPLED}.parquet"],
        labels=get_labels,
        pack=pack_file("pack.json"),
    output:
        divergence="work/{sample}/divergence/divergence.json",
        compared_frames="work/{sample}/divergence/frames.tsv",
        figures="work/{sample}/divergence/figures.svg",
    log:
        "logs/compare_attention/{sample}.log",
    retries: 0
    conda:
        "../../envs/programs.yaml"
    threads: 1
    resources:
        mem_mb=comparison_memory,
        runtime=reading_runtime,
    params:
        program=program("compare_attention"),
        code=code("compare_attention"),
        model=get_pack_argument,
        labels=lambda wildcards: arguments(SAMPLES[wildcards.sample].labels),
        reference_features=lambda wildcards, input: input.reference_features,
        reference_scores=lambda wildcards, input: input.reference_scores,
        stamps=lambda wildcards: stamps(SAMPLES[wildcards.sample].labels),
    message:
        "Compare both attentions on the sampled frames of {wildcards.sample}"
    shell:
        "python {params.program:q} --sample {input.sample:q} --model {params.model:q} --labels {params.labels:q}"
        " --fast-features {input.fast_features:q} --fast-scores {input.fast_scores:q}"
        " --reference-features {params.reference_features:q} --reference-scores {params.reference_scores:q}"
        " --divergence {output.divergence:q} --compared-frames {output.compared_frames:q}"
        " --figures {output.figures:q} 2> {log:q}"


# A checkpoint for gate: on_failure: fallback alone, where its decision says which attention's scores are published.
checkpoint divergence_gate:
    input:
        divergence="work/{sample}/divergence/divergence.json",
    output:
        gate="work/{sample}/divergence/gate.json",
    log:
        "logs/divergence_gate/{sample}.log",
    retries: 0
    conda:
        "../../envs/programs.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        program=program("divergence_gate"),
        code=code("divergence_gate"),
        options=options(config["gate"], "accept", "refuse", "decide_on", "on_failure", "strict"),
    message:
        "Decide whether the fast path's results of {wildcards.sample} may be published"
    shell:
        "python {params.program:q} --divergence {input.divergence:q} {params.options} --gate {output.gate:q} 2> {log:q}"


rule report_divergence:
    input:
        divergence="work/{sample}/divergence/divergence.json",
        gate="work/{sample}/divergence/gate.json",
        compared_frames="work/{sample}/divergence/frames.tsv",
        figures="work/{sample}/divergence/figures.svg",
    output:
        findings="results/{sample}/divergence.json",
        frames="results/{sample}/divergence.tsv",
        figures=report("results/{sample}/divergence.svg", caption="../report/divergence.rst", category="Divergence"),
    log:
        "logs/report_divergence/{sample}.log",
    conda:
        "../../envs/programs.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
        attempt=attempt_number,
    params:
        program=program("report_divergence"),
        code=code("report_divergence"),
    message:
        "Publish the comparison of both attentions for {wildcards.sample}"
    shell:
        "VIRNUCFLOW_ATTEMPT={resources.attempt} VIRNUCFLOW_FINAL_ERROR={log:q}.final "
        "python {params.program:q} --divergence {input.divergence:q} --gate {input.gate:q}"
        " --compared-frames {input.compared_frames:q} --figures {input.figures:q}"
        " --published-findings {output.findings:q} --published-frames {output.frames:q}"
        " --published-figures {output.figures:q} 2> {log:q}"


rule validate:
    input:
        lambda wildcards: expand(rules.report_divergence.output, sample=gated_samples()),


# Two settings of the fast path: this run against another one, on the frames that are sampled from this one.
use rule compare_attention as compare_runs with:
    input:
        sample="work/{sample}/divergence/sample.parquet",
        fast_features=get_files_of_shards("work/{sample}/features/flash/{shard}.safetensors"),
        fast_scores=get_files_of_shards("work/{sample}/scores/flash/{shard}.parquet"),
        reference_features=lambda wildcards: inputs(
            get_files_of_run("work/{sample}/features/flash/{shard}.safetensors")(wildcards)
        ),
        reference_scores=lambda wildcards: inputs(
            get_files_of_run("work/{sample}/scores/flash/{shard}.parquet")(wildcards)
        ),
        labels=get_labels,
        pack=pack_file("pack.json"),
    output:
        divergence="results/{sample}/comparison.json",
        compared_frames="results/{sample}/comparison.tsv",
        figures="results/{sample}/comparison.svg",
    log:
        "logs/compare_runs/{sample}.log",
    params:
        program=program("compare_attention"),
        code=code("compare_attention"),
        reference_features=lambda wildcards: arguments(
            get_files_of_run("work/{sample}/features/flash/{shard}.safetensors")(wildcards)
        ),
        reference_scores=lambda wildcards: arguments(
            get_files_of_run("work/{sample}/scores/flash/{shard}.parquet")(wildcards)
        ),
    message:
        "Compare this run of {wildcards.sample} with that in {config[reference_run]}"


rule compare:
    input:
        lambda wildcards: expand(rules.compare_runs.output, sample=gated_samples()),
