"""What is known before the first job, as plain functions without PyTorch; host.py alone uses Snakemake."""
