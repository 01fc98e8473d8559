"""Files between programs: tables, tensors and JSON, each with digests of what it holds."""
