"""What is said over all samples: their results in one table and one page."""
