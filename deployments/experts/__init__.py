"""What an expert's application runs: a vLLM engine, or simulated answers."""
