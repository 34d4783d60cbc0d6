"""The networks whose features are computed, as data: another network is another row of `NETWORKS`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fruits.errors import UsageError

_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/"


@dataclass(frozen=True, kw_only=True)
class Network:
    """What is known of a network of `keras.applications` without its head, average-pooled.

    Attributes
    ----------
    application
        Its function in `keras.applications`.
    url, file
        The ImageNet weights that Keras downloads; `{size}` stands for the input size. Written here because importing
        Keras takes ten seconds.
    tensors, parameters, features
        How many tensors and float32 parameters it has, and how many features it makes of an image.
    size, sizes
        Its input size in pixels, by default its own, and all that are allowed.
    channels, scale, offset
        Its `preprocess_input`: the order of red (0), green and blue, then x * scale + offset, for all or for each.
    recipe
        What an image goes through before the network: it identifies features, so a change makes new ones. It starts
        with the network's name where another network has the same.
    """

    application: str
    url: str
    file: str
    tensors: int
    parameters: int
    features: int
    size: int
    sizes: Sequence[int]
    channels: tuple[int, int, int] = (0, 1, 2)
    scale: float | tuple[float, float, float]
    offset: float | tuple[float, float, float]
    recipe: str

    @property
    def counts(self) -> tuple[int, int, int]:
        """Tensors, parameters and bytes of its weights."""
        return self.tensors, self.parameters, 4 * self.parameters

    @property
    def weights_file(self) -> str:
        """The name of the file of weights for its size."""
        return self.file.format(size=self.size)

    @property
    def preparation(self) -> str:
        """Its recipe at its size."""
        return self.recipe.format(size=self.size)


# Sizes, files and preprocessing: keras/src/applications/*.py of Keras 3.11; counts: `get_weights()` of its models.
NETWORKS = {
    "mobilenet_v2": Network(
        application="MobileNetV2",
        url=f"{_KERAS}mobilenet_v2/",
        file="mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{size}_no_top.h5",
        tensors=260,
        parameters=2_257_984,
        features=1280,
        size=224,
        sizes=(96, 128, 160, 192, 224),
        scale=1 / 127.5,
        offset=-1.0,
        recipe="PIL RGB, 16-bit grey >> 8, bicubic {size} x/127.5-1 float32",
    ),
    "efficientnet_v2_b0": Network(
        application="EfficientNetV2B0",
        url=f"{_KERAS}efficientnet_v2/",
        file="efficientnetv2-b0_notop.h5",
        tensors=359,
        parameters=5_919_312,
        features=1280,
        size=224,
        sizes=range(32, 1025),
        scale=1.0,  # its first layers scale
        offset=0.0,
        recipe="EfficientNetV2B0, PIL RGB, 16-bit grey >> 8, bicubic {size} x float32",
    ),
    "resnet50": Network(
        application="ResNet50",
        url=f"{_KERAS}resnet/",
        file="resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        tensors=318,
        parameters=23_587_712,
        features=2048,
        size=224,
        sizes=range(32, 1025),
        channels=(2, 1, 0),
        scale=1.0,
        offset=(-103.939, -116.779, -123.68),
        recipe="ResNet50, PIL BGR, 16-bit grey >> 8, bicubic {size} x-mean float32",
    ),
}
DEFAULT = NETWORKS["mobilenet_v2"]


def find_network(backbone: str, input_size: int = 0) -> Network:
    """Return a network by its name, at an input size that it takes: its own for 0."""
    if backbone not in NETWORKS:
        raise UsageError(f"backbone {backbone!r}: allowed: {', '.join(NETWORKS)}.")
    network = NETWORKS[backbone]
    if input_size and input_size not in network.sizes:
        some = isinstance(network.sizes, range)
        allowed = f"{network.sizes[0]} to {network.sizes[-1]}" if some else ", ".join(map(str, network.sizes))
        raise UsageError(f"input_size = {input_size}: {backbone} takes {allowed}; 0 means its own, {network.size}.")
    return replace(network, size=input_size or network.size)
