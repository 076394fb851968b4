"""What others published, to stand beside our figures; none of it was measured here."""

from __future__ import annotations

__all__ = ["HYBRID_DROPS", "ROUTELLM", "ROUTELLM_TRAINING"]

ROUTELLM: dict[str, dict[str, tuple[float, float, float]]] = {
    "routellm-mtbench": {
        "random": (49.03, 78.08, 0.500),
        "BERT": (19.58, 34.02, 0.751),
        "causal LLM": (31.50, 48.75, 0.679),
        "matrix factorization": (13.40, 31.31, 0.802),
        "similarity-weighted": (23.21, 36.04, 0.759),
    },
    "routellm-mmlu": {
        "random": (50.07, 79.93, 0.500),
        "BERT": (41.30, 72.20, 0.572),
        "causal LLM": (35.49, 70.31, 0.600),
        "matrix factorization": (35.46, 71.40, 0.597),
        "similarity-weighted": (35.40, 71.55, 0.603),
    },
    "routellm-gsm8k": {
        "random": (50.00, 80.08, 0.497),
        "BERT": (44.76, 79.09, 0.531),
        "causal LLM": (33.64, 63.26, 0.622),
        "matrix factorization": (38.82, 72.62, 0.565),
        "similarity-weighted": (41.21, 72.20, 0.568),
    },
}
"""RouteLLM (arXiv 2406.18665), CPT(50 %), CPT(80 %) and APGR of each router with its best augmented data."""

ROUTELLM_TRAINING = (
    "Chatbot Arena battles (65,000 after filtering) with the augmentation that did best on the set: about "
    "120,000 judge labels, or about 1,500 golden labels of MMLU's validation split"
)

HYBRID_DROPS: dict[str, dict[int, tuple[float, float, float]]] = {
    "small: Llama-2 7b to 13b": {10: (0.1, -0.1, 0.1), 20: (0.1, 0.0, 0.0), 40: (0.2, 0.1, 0.0)},
    "medium: Llama-2 13b to GPT-3.5": {10: (0.1, -0.1, 0.2), 20: (1.0, 0.8, 0.8), 40: (3.5, 3.4, 2.9)},
    "large: FLAN-T5 800m to Llama-2 13b": {10: (2.3, 2.2, 2.1), 20: (5.8, 5.8, 4.7), 40: (13.8, 13.1, 10.3)},
}
"""Hybrid LLM (arXiv 2404.14618), table 1: drop in % (r_det, r_prob, r_trans) by cost advantage in %, on MixInstruct."""
