"""Model packs: a directory with both encoders, the tokenizer, the classifier and what is known about them."""
