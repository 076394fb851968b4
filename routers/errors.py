"""Errors that a user can cause and mend: each message names the thing that is wrong and the remedy."""

__all__ = ["ArtifactError", "DataError", "FeatureError", "NotFittedError", "ParameterError", "PointsmanError"]


class PointsmanError(Exception):
    """Root of every error that Pointsman raises on purpose; its text is one sentence meant for the user."""


class ParameterError(PointsmanError):
    """A parameter, policy or configuration value is unknown, of the wrong kind, or impossible."""


class DataError(PointsmanError):
    """Routing data, or a file of it, does not have the form that was asked for."""


class ArtifactError(PointsmanError):
    """A saved router is missing, damaged, too large, foreign, or from a newer version."""


class NotFittedError(PointsmanError):
    """A router or feature extractor was asked for something that only training gives."""


class FeatureError(PointsmanError):
    """What a router reads of a prompt cannot be had now, as when an embeddings endpoint is silent.

    Neither the prompt nor the router is wrong, and the next prompt may fare better: who serves decides without the
    router meanwhile.
    """
