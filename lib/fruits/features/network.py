"""What is known of the network, as data."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Network:
    """What is known of a network without its head; another network is another record.

    Attributes
    ----------
    name, application
        How its features are named, and its function in `keras.applications`.
    url, file
        The ImageNet weights that Keras downloads. Written here because importing Keras takes ten seconds.
    tensors, parameters, features
        How many tensors and float32 parameters it has, and how many features it makes of an image.
    recipe
        What an image goes through before the network; a change makes new features.
    """

    name: str
    application: str
    url: str
    file: str
    tensors: int
    parameters: int
    features: int
    recipe: str


NETWORK = Network(
    name="mobilenetv2",
    application="MobileNetV2",
    url="https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/",
    file="mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
    tensors=260,
    parameters=2_257_984,
    features=1280,
    recipe="PIL RGB, 16-bit grey >> 8, bicubic 224 x/127.5-1 float32",
)
