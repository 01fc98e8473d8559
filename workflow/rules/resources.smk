# What jobs ask for, by the size of their input and the number of the attempt. Nothing here changes a result.

GPUS = 0 if config["device"] == "cpu" else 1


def token_budget(wildcards, attempt):
    """Tokens a batch: v1's number for standard; for flash halved with each attempt, if a GPU ran out of memory."""
    return 2048 if wildcards.attention == "standard" else 33792 // 2 ** (attempt - 1)


def embed_memory(wildcards, input, attempt):
    """Megabytes: three copies of the weights at worst, and the frames with their embeddings."""
    return int((6000 + 3 * os.path.getsize(input.weights) / 1e6 + 60 * os.path.getsize(input.frames) / 1e6) * attempt)


def check_memory(wildcards, input, attempt):
    """Megabytes: as for embedding, without frames."""
    return int((6000 + 3 * sum(map(os.path.getsize, (input.esm2, input.dnabert_s))) / 1e6) * attempt)


def table_memory(wildcards, input, attempt):
    """Megabytes for a program that holds its input and as much again."""
    return int((2000 + 3 * input.size_mb) * attempt)


def comparison_memory(wildcards, input, attempt):
    """Megabytes for a program that reads all scores, and of the features a few rows."""
    return int((2000 + 3 * sum(map(os.path.getsize, input.fast_scores)) / 1e6) * attempt)


def embed_runtime(wildcards, attempt):
    """Minutes."""
    return {"flash": 240, "standard": 1440}[wildcards.attention] * attempt
