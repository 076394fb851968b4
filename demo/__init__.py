"""The demo: tiny language models trained from scratch, and the exam they sit."""
