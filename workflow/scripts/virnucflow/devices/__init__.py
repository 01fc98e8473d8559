"""What computes: GPUs shared between jobs, and the precision of the arithmetic."""
