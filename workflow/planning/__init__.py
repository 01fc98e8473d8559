"""What is known before the first job: the settings and the sample sheet, as plain Python without Snakemake."""
