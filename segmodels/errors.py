"""What can be wrong with a model: one sentence each, with the remedy."""


class ModelError(Exception):
    """A bundle, its card or its engine cannot be used as asked."""


class BundleError(ModelError):
    """The bundle on disk is missing, incomplete, altered or unsafe."""


class EngineError(ModelError):
    """The engine asked for is not installed, or disagrees with the golden input."""
