"""Transformers that read prompts: fine-tuned encoders and causal models, saved without pickle."""
