"""What a spare worker does while it waits: import what a run needs, and take one step."""

from __future__ import annotations

from bigmodel.core import catalog
from bigmodel.training.optimizers import optimizer


def warm_up() -> None:
    """Load the libraries, register our networks, update a tiny model: a run's first real step is then not the first."""
    import datasets  # noqa: F401
    import sacrebleu  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import torch
    import transformers

    from bigmodel.training import loop  # noqa: F401

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    for architecture in catalog.architectures().values():
        architecture.register()
    from transformers import GPT2LMHeadModel, MarianMTModel, ResNetForImageClassification, ViTForImageClassification  # noqa: F401

    model = torch.nn.Linear(2, 2)
    optimize = optimizer(model, {"optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 0.0})
    model(torch.zeros(1, 2)).sum().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimize.step()
