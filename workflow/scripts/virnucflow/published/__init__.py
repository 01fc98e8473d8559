"""Published models: catalogue, download, reading of foreign checkpoints, conversion to a pack."""
