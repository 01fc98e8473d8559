# The gate: the fast path against v1's, in fp32, on a sample of each run's frames, before anything is published.
# The sample is a shard like any other, named "sampled": the rules of embeddings.smk and predict compute it.


for scope in [EACH, *GATED_BATCHES]:

    rule:
        name:
            scope.rule("sample_frames")
        input:
            frames=get_files_of_samples(scope, "work/{sample}/frames/{shard}.parquet"),
            scores=get_files_of_samples(scope, "work/{sample}/scores/flash/{shard}.parquet"),
        output:
            sampled_frames=scope.files(f"work/{{sample}}/frames/{SAMPLED}.parquet"),
            sample=scope.files("work/{sample}/divergence/sample.parquet"),
        log:
            f"{scope.log('sample_frames', '{sample}')}.log",
        wildcard_constraints:
            sample=NOT_IN_GATED_BATCHES,
        retries: 0
        conda:
            "../../envs/programs.yaml"
        threads: 1
        resources:
            mem_mb=sample_memory,
            runtime=sampling_runtime(scope),
        params:
            program=program("sample_frames"),
            code=code("sample_frames"),
            frames=for_each_sample("--frames", "frames"),
            scores=for_each_sample("--scores", "scores"),
            sampled_frames=out_for_each_sample("--sampled-frames", "sampled_frames"),
            sample=out_for_each_sample("--sample", "sample"),
            chunk_length=config["chunk_length"],
            number=config["gate"]["frames"],
            seed=config["gate"]["seed"],
        message:
            f"Sample frames of {scope.described(SAMPLE)} to compare both attentions"
        shell:
            "python {params.program:q} {params.frames:q} {params.scores:q}"
            " --chunk-length {params.chunk_length} --number {params.number} --seed {params.seed}"
            " {params.sampled_frames:q} {params.sample:q} 2> {log:q}"


rule compare_attention:
    input:
        sequences="work/{sample}/sequences.parquet",
        sample="work/{sample}/divergence/sample.parquet",
        fast_dnabert_s=get_files_of_shards(embeddings("dnabert_s", "flash", "{shard}")),
        fast_esm2=get_files_of_shards(embeddings("esm2", "flash", "{shard}")),
        fast_scores=get_files_of_shards("work/{sample}/scores/flash/{shard}.parquet"),
        reference_dnabert_s=[embeddings("dnabert_s", "standard", SAMPLED)],
        reference_esm2=[embeddings("esm2", "standard", SAMPLED)],
        reference_scores=[f"work/{{sample}}/scores/standard/{SAMPLED}.parquet"],
        labels=get_labels,
        pack=built_pack_file("pack.json"),
    output:
        divergence=f"{RESULTS}/{DIVERGENCE_JSON}",
        compared_frames=f"{RESULTS}/{DIVERGENCE_TSV}",
        figures=report(
            f"{RESULTS}/{DIVERGENCE_SVG}",
            caption="../report/divergence.rst",
            category="Samples",
            labels={"sample": "{sample}", "result": "both attentions"},
        ),
    log:
        "logs/compare_attention/{sample}.log",
    retries: 0
    conda:
        "../../envs/programs.yaml"
    threads: 1
    resources:
        mem_mb=comparison_memory,
        runtime=reading_runtime,
        model=get_pack_argument,  # an option, and no reason to compare again: its widths are those of the embeddings
    params:
        program=program("compare_attention"),
        code=code("compare_attention"),
        fast_dnabert_s=input_as_ranges("fast_dnabert_s"),
        fast_esm2=input_as_ranges("fast_esm2"),
        fast_scores=input_as_ranges("fast_scores"),
        labels=lambda wildcards: arguments(SAMPLES[wildcards.sample].labels),
        reference_dnabert_s=lambda wildcards, input: input.reference_dnabert_s,
        reference_esm2=lambda wildcards, input: input.reference_esm2,
        reference_scores=lambda wildcards, input: input.reference_scores,
        stamps=lambda wildcards: stamps(SAMPLES[wildcards.sample].labels),
    message:
        "Compare both attentions on the sampled frames of {wildcards.sample}"
    shell:
        "python {params.program:q} --sequences {input.sequences:q} --sample {input.sample:q}"
        " --model {resources.model:q} --labels {params.labels:q}"
        " --fast-dnabert-s {params.fast_dnabert_s:q} --fast-esm2 {params.fast_esm2:q}"
        " --fast-scores {params.fast_scores:q} --reference-dnabert-s {params.reference_dnabert_s:q}"
        " --reference-esm2 {params.reference_esm2:q} --reference-scores {params.reference_scores:q}"
        " --divergence {output.divergence:q} --compared-frames {output.compared_frames:q}"
        " --figures {output.figures:q} 2> {log:q}"


# When it refuses, it fails, and the findings stay in results/, since they are outputs of a job that has succeeded.
# A checkpoint for gate: on_failure: fallback alone, where its decision says which attention's scores are published.
checkpoint divergence_gate:
    input:
        divergence=f"{RESULTS}/{DIVERGENCE_JSON}",
    output:
        gate=f"{RESULTS}/{GATE_JSON}",
    log:
        "logs/divergence_gate/{sample}.log",
    retries: 0
    # Of a second: a scheduler would take longer to start it.
    localrule: True
    conda:
        "../../envs/programs.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=runtime(10),
    params:
        program=program("divergence_gate"),
        code=code("divergence_gate"),
        options=options(config["gate"], "accept", "refuse", "decide_on", "on_failure", "strict"),
    message:
        "Decide whether the fast path's results of {wildcards.sample} may be published"
    shell:
        "python {params.program:q} --divergence {input.divergence:q} {params.options} --gate {output.gate:q} 2> {log:q}"


if config["gate"]["on_failure"] != "fallback":
    host.make_ordinary(rules.divergence_gate)


rule validate:
    input:
        lambda wildcards: expand(
            [*rules.compare_attention.output, *rules.divergence_gate.output], sample=gated_samples()
        ),


# Two settings of the fast path: this run against another one, on the frames that are sampled from this one.
use rule compare_attention as compare_runs with:
    input:
        sequences="work/{sample}/sequences.parquet",
        sample="work/{sample}/divergence/sample.parquet",
        fast_dnabert_s=get_files_of_shards(embeddings("dnabert_s", "flash", "{shard}")),
        fast_esm2=get_files_of_shards(embeddings("esm2", "flash", "{shard}")),
        fast_scores=get_files_of_shards("work/{sample}/scores/flash/{shard}.parquet"),
        reference_dnabert_s=lambda wildcards: inputs(
            get_files_of_run("work/{sample}/embeddings/{dnabert_s}/{shard}.safetensors")(wildcards)
        ),
        reference_esm2=lambda wildcards: inputs(
            get_files_of_run("work/{sample}/embeddings/{esm2}/{shard}.safetensors")(wildcards)
        ),
        reference_scores=lambda wildcards: inputs(
            get_files_of_run("work/{sample}/scores/flash/{shard}.parquet")(wildcards)
        ),
        labels=get_labels,
        pack=built_pack_file("pack.json"),
    output:
        divergence=f"{RESULTS}/{COMPARISON_JSON}",
        compared_frames=f"{RESULTS}/{COMPARISON_TSV}",
        figures=f"{RESULTS}/{COMPARISON_SVG}",
    log:
        "logs/compare_runs/{sample}.log",
    params:
        program=program("compare_attention"),
        code=code("compare_attention"),
        reference_dnabert_s=lambda wildcards: as_ranges(
            arguments(get_files_of_run("work/{sample}/embeddings/{dnabert_s}/{shard}.safetensors")(wildcards))
        ),
        reference_esm2=lambda wildcards: as_ranges(
            arguments(get_files_of_run("work/{sample}/embeddings/{esm2}/{shard}.safetensors")(wildcards))
        ),
        reference_scores=lambda wildcards: as_ranges(
            arguments(get_files_of_run("work/{sample}/scores/flash/{shard}.parquet")(wildcards))
        ),
    message:
        "Compare this run of {wildcards.sample} with that in {config[reference_run]}"


rule compare:
    input:
        lambda wildcards: expand(rules.compare_runs.output, sample=gated_samples()),
