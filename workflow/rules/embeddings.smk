# Both encoders over the frames. Embeddings lie below a name of all that their numbers depend on besides the frames: the
# encoder's files, the attention (flash or standard, v1's) and what is requested of it (planning/embeddings.py).


rule embed_dnabert_s:
    input:
        frames="work/{sample}/frames/{shard}.parquet",
        pack=built_pack_file("pack.json"),
        weights=built_pack_file("dnabert_s.safetensors"),
        tokenizer=built_pack_file("tokenizer.json"),
    output:
        embeddings=kept_with("embeddings", embeddings_path("dnabert_s")),
    log:
        "logs/embed_dnabert_s/{sample}/{attention}-{request}/{shard}.log",
    benchmark:
        "logs/embed_dnabert_s/{sample}/{attention}-{request}/{shard}.benchmark.tsv"
    conda:
        "../../envs/programs.yaml"
    threads: embed_threads()
    resources:
        gpu=GPUS,
        mem_mb=embed_memory("dnabert_s"),
        runtime=embed_runtime("dnabert_s"),
        check_model=int(config["check_models_at_start"]),  # an option
        attempt=attempt_number,  # an option: what is a resource is no reason to run again
        model=get_pack_argument,  # an option, and no reason to embed again: the path has the SHA-256 of the pack's files
    params:
        program=program("embed_dnabert_s"),
        code=code("embed_dnabert_s"),
        options=get_embed_options,
        key=EMBEDDED["dnabert_s"] + "-{attention}-{request}",
    message:
        "Embed the nucleotides of shard {wildcards.shard} of {wildcards.sample} ({wildcards.attention})"
    shell:
        "VIRNUCFLOW_ATTEMPT={resources.attempt} VIRNUCFLOW_FINAL_ERROR={log:q}.final "
        "python {params.program:q} --frames {input.frames:q} --model {resources.model:q}"
        " --attention {wildcards.attention} {params.options} --threads {threads} --check-model {resources.check_model}"
        " --key {params.key} --code {params.code} --embeddings {output.embeddings:q} 2> {log:q}"


use rule embed_dnabert_s as embed_esm2 with:
    input:
        frames="work/{sample}/frames/{shard}.parquet",
        pack=built_pack_file("pack.json"),
        weights=built_pack_file("esm2.safetensors"),
    output:
        embeddings=kept_with("embeddings", embeddings_path("esm2")),
    log:
        "logs/embed_esm2/{sample}/{attention}-{request}/{shard}.log",
    benchmark:
        "logs/embed_esm2/{sample}/{attention}-{request}/{shard}.benchmark.tsv"
    # The longer jobs first, so that several GPUs end at about the same time.
    priority: 1
    resources:
        gpu=GPUS,
        mem_mb=embed_memory("esm2"),
        runtime=embed_runtime("esm2"),
        check_model=int(config["check_models_at_start"]),  # an option
        attempt=attempt_number,  # an option: what is a resource is no reason to run again
        model=get_pack_argument,
    params:
        program=program("embed_esm2"),
        code=code("embed_esm2"),
        options=get_embed_options,
        key=EMBEDDED["esm2"] + "-{attention}-{request}",
    message:
        "Embed the proteins of shard {wildcards.shard} of {wildcards.sample} ({wildcards.attention})"


rule concat_features:
    input:
        dnabert_s=get_embeddings("dnabert_s"),
        esm2=get_embeddings("esm2"),
    output:
        # The same numbers once more, for predict alone. If another rule read them, it would run again whenever predict
        # does, since Snakemake then makes the temporary file again.
        features=kept_with("all", "work/{sample}/features/{attention}/{shard}.safetensors"),
    log:
        "logs/concat_features/{sample}/{attention}/{shard}.log",
    conda:
        "../../envs/programs.yaml"
    threads: 1
    resources:
        mem_mb=features_memory,
        runtime=runtime(30),
        attempt=attempt_number,  # an option: what is a resource is no reason to run again
    params:
        program=program("concat_features"),
        code=code("concat_features"),
    message:
        "Concatenate both embeddings of shard {wildcards.shard} of {wildcards.sample} ({wildcards.attention})"
    shell:
        "VIRNUCFLOW_ATTEMPT={resources.attempt} VIRNUCFLOW_FINAL_ERROR={log:q}.final "
        "python {params.program:q} --dnabert-s {input.dnabert_s:q} --esm2 {input.esm2:q}"
        " --features {output.features:q} 2> {log:q}"
