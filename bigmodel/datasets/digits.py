"""Handwritten digits, small enough to train on in seconds."""

from bigmodel.core.contracts import Column, Dataset, DatasetInfo
from bigmodel.core.words import _


class Digits(Dataset):
    name = "digits"
    order = 55
    title = _("Handwritten digits")
    about = _("1,797 grey pictures of handwritten digits, 8 x 8 pixels. Small enough to learn in seconds.")
    facts = DatasetInfo(
        licence="BSD-3-Clause",
        source="scikit-learn 1.9.1, UCI Optical Recognition of Handwritten Digits",
        citation="Alpaydin, Kaynak: Optical Recognition of Handwritten Digits (1998)",
    )
    columns = {
        "image": Column("image", _("Picture")),
        "label": Column("class", _("Class"), names=tuple("0123456789")),
    }
    default_settings = {"epochs": 20}
