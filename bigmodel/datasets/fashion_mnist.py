"""Fashion-MNIST: ten kinds of clothing."""

from bigmodel.core.contracts import Column, Dataset, DatasetInfo
from bigmodel.core.words import _


class FashionMnist(Dataset):
    name = "fashion_mnist"
    order = 60
    title = _("Fashion-MNIST")
    about = _("10,000 grey pictures of clothing, 28 x 28 pixels, ten classes of the same size.")
    facts = DatasetInfo(
        licence="MIT",
        source="Zalando Research, Debian dataset-fashion-mnist",
        citation="Xiao, Rasul, Vollgraf: Fashion-MNIST (2017), arXiv:1708.07747",
    )
    columns = {
        "image": Column("image", _("Picture")),
        "label": Column(
            "class",
            _("Class"),
            names=(
                _("T-shirt"),
                _("Trousers"),
                _("Pullover"),
                _("Dress"),
                _("Coat"),
                _("Sandal"),
                _("Shirt"),
                _("Sneaker"),
                _("Bag"),
                _("Ankle boot"),
            ),
        ),
    }
    default_settings = {"augment": "shift-flip"}
