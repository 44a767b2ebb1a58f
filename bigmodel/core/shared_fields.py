"""Fields and metrics that several tasks and networks share; a leaf takes them as they are, or with `dataclasses.replace`."""

from __future__ import annotations

from bigmodel.core import limits
from bigmodel.core.contracts import Metric
from bigmodel.core.fields import Choice, Number
from bigmodel.core.words import _

# -- hyperparameters of networks -----------------------------------------------------------------------
LAYERS = Number(
    name="layers",
    label=_("Layers"),
    integer=True,
    default=3,
    minimum=1,
    maximum=48,
    help=_("Transformer blocks on top of each other. More can learn more and take longer."),
)
WIDTH = Number(
    name="width",
    label=_("Width"),
    integer=True,
    default=128,
    minimum=8,
    maximum=4096,
    step=8,
    logarithmic=True,
    help=_("Numbers that describe one token inside the network."),
)
ATTENTION_HEADS = Number(
    name="attention_heads",
    label=_("Attention heads"),
    integer=True,
    default=4,
    minimum=1,
    maximum=64,
    advanced=True,
    search=(),
    help=_("Ways in which a token looks at others at the same time. Divides the width."),
)
DROPOUT = Number(
    name="dropout",
    label=_("Dropout"),
    default=0.1,
    minimum=0,
    maximum=0.9,
    step=0.05,
    advanced=True,
    search=(0, 0.5),
    help=_("Part of the signals switched off at random while training, against learning by heart."),
)

# -- how text is encoded -------------------------------------------------------------------------------
BLOCK_SIZE = Number(
    name="block_size",
    label=_("Context length"),
    integer=True,
    default=128,
    minimum=8,
    maximum=4096,
    search=(),
    help=_("How many tokens the model sees at a time. Longer remembers more and costs more."),
)
TOKENIZER = Choice(
    name="tokenizer",
    label=_("Tokenizer"),
    default="auto",
    advanced=True,
    help=_("How text is cut into tokens: characters suit Chinese, byte-level BPE everything else."),
    options={"auto": _("Automatic"), "characters": _("Characters"), "bpe": _("Byte-level BPE")},
)
VOCABULARY = Number(
    name="vocabulary",
    label=_("Vocabulary size"),
    integer=True,
    default=8192,
    minimum=300,
    maximum=100_000,
    advanced=True,
    help=_("At most this many different tokens."),
)

# -- how a model is asked to write --------------------------------------------------------------------
MAX_NEW_TOKENS = Number(
    name="max_new_tokens",
    label=_("Length"),
    integer=True,
    default=120,
    minimum=1,
    maximum=limits.NEW_TOKENS,
    help=_("At most this many new tokens."),
)
TEMPERATURE = Number(
    name="temperature",
    label=_("Temperature"),
    default=0.8,
    minimum=0,
    maximum=3,
    step=0.05,
    help=_("0 always takes the most likely token; higher is more surprising."),
)
TOP_P = Number(
    name="top_p",
    label=_("Top-p"),
    default=0.95,
    minimum=0.01,
    maximum=1,
    step=0.01,
    advanced=True,
    help=_("Draws only from the most likely tokens that together have this probability. 1: from all."),
)
TOP_K = Number(
    name="top_k",
    label=_("Top-k"),
    integer=True,
    default=0,
    minimum=0,
    maximum=100_000,
    advanced=True,
    help=_("Draws only from this many of the most likely tokens. 0: from all."),
)
SAMPLING_SEED = Number(
    name="seed",
    label=_("Seed"),
    integer=True,
    default=0,
    minimum=0,
    maximum=2**31 - 1,
    advanced=True,
    help=_("The same seed gives the same text."),
)
INFERENCE_PRECISION = Choice(
    name="precision",
    label=_("Numbers"),
    default="float32",
    advanced=True,
    help=_("8-bit numbers answer quicker and a little less exactly; the answer says what that costs."),
    options={"float32": _("As trained"), "int8": _("8 bits, quicker")},
)

# -- metrics of models that foretell tokens -----------------------------------------------------------
PERPLEXITY = Metric(
    "perplexity",
    _("Perplexity"),
    higher_is_better=False,
    help=_("Between how many tokens the model hesitates on average. Depends on the tokenizer."),
)
TOKEN_ACCURACY = Metric(
    "accuracy",
    _("Token accuracy"),
    percent=True,
    help=_("How often the most likely token is the right one."),
)
