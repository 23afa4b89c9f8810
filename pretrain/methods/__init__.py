"""What is trained: WaveBYOL's own method and those of the baselines."""
