"""Benchmark of audio representations: tasks, embeddings through the HEAR API, a linear probe."""
