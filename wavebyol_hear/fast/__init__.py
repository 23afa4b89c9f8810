"""What exists for speed alone; the model runs without it: `load_model(fast=False)`."""
