"""Adapters: few weights beside many frozen ones, put in by peft, and added to them in the model that is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bigmodel.base_models.supported_models import ATTENTION_MODULES, EMBEDDING_MODULES, HEAD_MODULES, is_within
from bigmodel.core.errors import Refusal
from bigmodel.core.words import Words, _

ADAPTER_NAME = "default"
ADAPTER_TYPES: Mapping[str, Words] = {
    "lora": _("LoRA"),
    "rslora": _("rsLoRA"),
    "dora": _("DoRA"),
    "loha": _("LoHa"),
    "lokr": _("LoKr"),
    "ia3": _("IA³"),
}
LYCORIS_TYPES = ("loha", "lokr")  # of matrices as large as the layer's own: they know no weights but torch's


# -- put in ------------------------------------------------------------------------------------------------
def inject_adapters(model: Any, settings: Mapping) -> None:
    """Freeze the network and put adapters beside its layers. Until they are trained they change nothing.

    LoRA: Hu et al. 2021. rsLoRA: Kalajdzievski 2023. DoRA: Liu et al. 2024. LoHa: Hyeon-Woo et al. 2022 and LoKr,
    both as in LyCORIS (Yeh et al. 2024). IA³: Liu et al. 2022, on whatever a layer gives out.
    """
    import torch
    from peft import inject_adapter_in_model

    targets = _target_modules(model, settings["lora_targets"])
    if not targets:
        what = _("This base model has no layers that adapters could be put beside.")
        raise Refusal(what, do=_("Choose another way of fine-tuning."), field="method")
    if settings["adapter"] in LYCORIS_TYPES:
        _conv1d_to_linear(model, targets)
    inject_adapter_in_model(_peft_config(settings, targets, _uses_conv1d(model, targets)), model, ADAPTER_NAME)
    for weight in model.parameters():
        if weight.requires_grad:  # beside 4 bits peft makes them of 16, in which small updates are lost
            weight.data = weight.data.to(torch.float32)


def _peft_config(settings: Mapping, targets: list[str], input_first: bool) -> Any:
    from peft import IA3Config, LoHaConfig, LoKrConfig, LoraConfig

    kind, rank, alpha = settings["adapter"], settings["lora_rank"], settings["lora_alpha"]
    if kind == "ia3":
        return IA3Config(target_modules=targets, feedforward_modules=[], fan_in_fan_out=input_first)
    if kind in LYCORIS_TYPES:
        return {"loha": LoHaConfig, "lokr": LoKrConfig}[kind](r=rank, alpha=alpha, target_modules=targets)
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=settings["lora_dropout"],
        target_modules=targets,
        fan_in_fan_out=input_first,
        use_rslora=kind == "rslora",
        use_dora=kind == "dora",
    )


def _target_modules(model: Any, which: str) -> list[str]:
    """Full names of the layers that get an adapter: those of attention, or all of the body."""
    import torch
    from transformers.pytorch_utils import Conv1D

    output = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    kinds = (torch.nn.Linear, Conv1D, torch.nn.Conv2d)
    body = [
        (name, layer)
        for name, layer in model.named_modules()
        if isinstance(layer, kinds)
        and layer is not output
        and not is_within(name, HEAD_MODULES)
        and not any(part in name for part in EMBEDDING_MODULES)
        and getattr(layer, "groups", 1) == 1
    ]
    attention = [name for name, _layer in body if name.rpartition(".")[2] in ATTENTION_MODULES or ".attn" in name]
    return attention if which == "attention" and attention else [name for name, _layer in body]


# -- GPT-2 keeps weights input first -----------------------------------------------------------------------
def _uses_conv1d(model: Any, names: list[str]) -> bool:
    from transformers.pytorch_utils import Conv1D

    return isinstance(model.get_submodule(names[0]), Conv1D)


def _conv1d_to_linear(model: Any, names: list[str]) -> list[str]:
    """Those of the layers that keep their weights input first, made into torch's own, which compute the same."""
    import torch
    from transformers.pytorch_utils import Conv1D

    turned = [name for name in names if isinstance(model.get_submodule(name), Conv1D)]
    for name in turned:
        layer = model.get_submodule(name)
        with torch.device("meta"):
            plain = torch.nn.Linear(*layer.weight.shape)
        plain.weight, plain.bias = torch.nn.Parameter(layer.weight.data.t()), layer.bias
        model.set_submodule(name, plain)
    return turned


def _linear_to_conv1d(model: Any, names: list[str]) -> None:
    import torch
    from transformers.pytorch_utils import Conv1D

    for name in names:
        layer = model.get_submodule(name)
        with torch.device("meta"):
            own = Conv1D(layer.out_features, layer.in_features)
        own.weight, own.bias = torch.nn.Parameter(layer.weight.data.t().contiguous()), layer.bias
        model.set_submodule(name, own)


# -- kept --------------------------------------------------------------------------------------------------
def merge_adapters(model: Any) -> Any:
    """The same network without adapters: what they have learnt is added to the weights, so that plain transformers
    opens it. The model itself stays as it is; one without adapters is given back."""
    import copy

    import torch

    if not hasattr(model, "peft_config"):
        return model
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

    config = copy.deepcopy(model.peft_config[ADAPTER_NAME])
    with torch.device("meta"):
        plain = type(model)(without_quantization(model.config))
        turned = _conv1d_to_linear(plain, _converted_conv1d_names(model, plain))
        tuner = PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type](plain, config, ADAPTER_NAME)
    with torch.no_grad():
        state = _dequantized_state_dict(model, plain)
        plain.load_state_dict(state, assign=True)
        for name, buffer in model.named_buffers():  # those that are computed and never saved
            owner, _dot, what = name.rpartition(".")
            if name not in state and what in plain.get_submodule(owner)._buffers:
                plain.get_submodule(owner)._buffers[what] = buffer.clone()
        tuner.merge_and_unload()
    _linear_to_conv1d(plain, turned)
    plain.tie_weights()
    plain.generation_config = getattr(model, "generation_config", None)
    return plain.eval()


def _converted_conv1d_names(model: Any, plain: Any) -> list[str]:
    """Layers that are input first in the network as it is kept, and torch's own in the one that was trained."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from transformers.pytorch_utils import Conv1D

    found = []
    for name, layer in plain.named_modules():
        if isinstance(layer, Conv1D):
            trained = model.get_submodule(name)
            trained = trained.get_base_layer() if isinstance(trained, BaseTunerLayer) else trained
            found += [name] if not isinstance(trained, Conv1D) else []
    return found


def _dequantized_state_dict(model: Any, plain: Any) -> dict:
    """The weights of a network with adapters, in fp32 also where they are kept in 8 or 4 bits, or in 16 as the biases
    beside those. Those beside which an adapter stands are copies, as merging writes into them."""
    import torch
    from peft.utils.integrations import dequantize_module_weight

    state, found = model.state_dict(), {}
    for name in plain.state_dict():
        owner, value = name.rpartition(".")[0], state[name]
        if value.dtype in (torch.int8, torch.uint8):
            value = dequantize_module_weight(model.get_submodule(owner))
        if value.is_floating_point():
            value = value.to(torch.float32, copy=".base_layer." in name)
        found[name] = value
    return found


def without_quantization(config: Any) -> Any:
    import copy

    plain = copy.deepcopy(config)
    if hasattr(plain, "quantization_config"):
        del plain.quantization_config
    return plain
