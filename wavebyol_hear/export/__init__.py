"""A model for other runtimes: ONNX files and torch.export programs, checked against torch."""
