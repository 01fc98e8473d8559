# Both encoders over the frames. Embeddings lie below a name of all that their numbers depend on besides the frames: the
# encoder's files, the attention (flash or standard, v1's) and what is requested of it (planning/embeddings.py).


# embed_dnabert_s and embed_esm2, of the shard that a job's wildcards name, and of each batch of small samples.
for encoder, scope in product(ENCODERS.values(), EMBEDDED_SCOPES):

    rule:
        name:
            scope.rule(f"embed_{encoder.name}")
        input:
            frames=scope.files("work/{sample}/frames/{shard}.parquet"),
            pack=built_pack_file("pack.json"),
            weights=built_pack_file(encoder.weights),
            tokenizer=built_pack_file(encoder.tokenizer) if encoder.tokenizer else [],
        output:
            embeddings=kept_with("embeddings", scope.files(embeddings_of(scope, encoder.name))),
            device_time=scope.files(device_time_of(embeddings_of(scope, encoder.name))),
        log:
            f"{scope.log(f'embed_{encoder.name}', '{sample}/{attention}-{request}/{shard}')}.log",
        benchmark:
            f"{scope.log(f'embed_{encoder.name}', '{sample}/{attention}-{request}/{shard}')}.benchmark.tsv"
        wildcard_constraints:
            sample=outside_of_batches(scope, lambda scope: without_ending(embeddings_of(scope, encoder.name))),
            shard=scope.shard,
        # The longer jobs first, so that several GPUs end at about the same time.
        priority: int(encoder == ESM2)
        conda:
            "../../envs/programs.yaml"
        threads: embed_threads()
        resources:
            gpu=GPUS,
            mem_mb=embed_memory(scope, encoder.name),
            runtime=embed_runtime(scope, encoder.name),
            check_model=int(config["check_models_at_start"]),  # an option
            attempt=attempt_number,  # an option: what is a resource is no reason to run again
            model=get_pack_argument,  # an option, and no reason to embed again: the path has the SHA-256 of the pack's files
            store=get_store(scope),  # an option
        params:
            program=program(f"embed_{encoder.name}"),
            code=code(f"embed_{encoder.name}"),
            frames=input_as_ranges("frames"),
            embeddings=output_as_ranges("embeddings"),
            device_time=output_as_ranges("device_time"),
            options=get_embed_options(scope, encoder.name),
            key=get_key(scope, encoder.name),
        message:
            f"Embed the {encoder.column}s of {scope.described(SHARD)}"
        shell:
            "VIRNUCFLOW_ATTEMPT={resources.attempt} VIRNUCFLOW_FINAL_ERROR={log:q}.final "
            "python {params.program:q} --frames {params.frames:q} --model {resources.model:q}"
            " {params.options} --threads {threads} --check-model {resources.check_model} --store {resources.store}"
            " --key {params.key} --code {params.code} --embeddings {params.embeddings:q}"
            " --device-time {params.device_time:q} 2> {log:q}"


for scope in EMBEDDED_SCOPES:

    rule:
        name:
            scope.rule("concat_features")
        input:
            dnabert_s=get_embeddings(scope, "dnabert_s"),
            esm2=get_embeddings(scope, "esm2"),
        output:
            # The same numbers once more, for predict alone. If another rule read them, it would run again whenever
            # predict does, since Snakemake then makes the temporary file again.
            features=kept_with("all", scope.files("work/{sample}/features/{attention}/{shard}.safetensors")),
        log:
            f"{scope.log('concat_features', '{sample}/{attention}/{shard}')}.log",
        wildcard_constraints:
            sample=outside_of_batches(scope, "work/{sample}/features/{attention}/{shard}.safetensors"),
            shard=scope.shard,
        conda:
            "../../envs/programs.yaml"
        threads: 1
        resources:
            mem_mb=features_memory(scope),
            runtime=runtime(30),
            attempt=attempt_number,  # an option: what is a resource is no reason to run again
        params:
            program=program("concat_features"),
            code=code("concat_features"),
            dnabert_s=input_as_ranges("dnabert_s"),
            esm2=input_as_ranges("esm2"),
            features=output_as_ranges("features"),
        message:
            f"Concatenate both embeddings of {scope.described(SHARD)}"
        shell:
            "VIRNUCFLOW_ATTEMPT={resources.attempt} VIRNUCFLOW_FINAL_ERROR={log:q}.final "
            "python {params.program:q} --dnabert-s {params.dnabert_s:q} --esm2 {params.esm2:q}"
            " --features {params.features:q} 2> {log:q}"
