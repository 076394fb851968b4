"""What turns prompts into numbers."""

from routers.features.base import Features, Tensors, clip_text
from routers.features.endpoint import ALLOWED_ENDPOINTS, EndpointFeatures
from routers.features.registry import FeatureSpec, SideColumns, list_features, make_features
from routers.features.rows import FloatArray, Rows, SparseRows, as_matrix, beside, minus
from routers.features.sentence import SentenceFeatures, encoder_fingerprint, find_encoder, kept_embeddings
from routers.features.side import SideFeatures, WithSide
from routers.features.svd import (
    ClusterFeatures,
    TfidfSvdCountsFeatures,
    TfidfSvdFeatures,
    right_singular_vectors,
    unit_rows,
)
from routers.features.tensors import checked_tensor
from routers.features.tfidf import TfidfFeatures

__all__ = [
    "ALLOWED_ENDPOINTS",
    "ClusterFeatures",
    "EndpointFeatures",
    "FeatureSpec",
    "Features",
    "FloatArray",
    "Rows",
    "SentenceFeatures",
    "SideColumns",
    "SideFeatures",
    "SparseRows",
    "Tensors",
    "TfidfFeatures",
    "TfidfSvdCountsFeatures",
    "TfidfSvdFeatures",
    "WithSide",
    "as_matrix",
    "beside",
    "checked_tensor",
    "clip_text",
    "encoder_fingerprint",
    "find_encoder",
    "kept_embeddings",
    "list_features",
    "make_features",
    "minus",
    "right_singular_vectors",
    "unit_rows",
]
