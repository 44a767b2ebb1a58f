"""What a run needs, imported before there is one."""

from __future__ import annotations

from bigmodel.core import catalog


def import_libraries() -> None:
    """Import all that a training or a model worker needs and register our networks. Computes nothing: threads and a
    CUDA context would not survive the fork."""
    import datasets  # noqa: F401
    import sacrebleu  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import transformers

    from bigmodel.training import loop  # noqa: F401

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    for architecture in catalog.architectures().values():
        architecture.register()
    from transformers import GPT2LMHeadModel, MarianMTModel, ResNetForImageClassification, ViTForImageClassification  # noqa: F401
