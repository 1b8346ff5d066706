"""Whether a network and the steps around it belong together."""

import msgspec

from contract.embeddings import DIMENSIONS_MAX
from contract.errors import ConfigurationError
from model.networks.runtimes import Network, Tensor
from model.networks.steps import DTYPES, Steps

_ANSWERS = ("float32", "float16")


def fitted(steps: Steps, network: Network) -> Steps:
    """The steps, with type and output filled in from the network where they are "".

    Raises:
        ConfigurationError: they do not fit; the message says what the network has and which option to change.
    """
    takes = _input(steps, network)
    gives = _output(steps, network)
    found = msgspec.structs.replace(steps, dtype=takes.dtype, output=gives.name)
    found.check()
    return found


def _input(steps: Steps, network: Network) -> Tensor:
    if len(network.inputs) != 1:
        raise ConfigurationError(
            f"The network takes {len(network.inputs)} inputs ({_listed(network.inputs)}), expected one: a picture. Export the part "
            "of it that embeds pictures."
        )
    takes = network.inputs[0]
    if takes.dtype not in DTYPES:
        raise ConfigurationError(f"The network's input is {takes}: of types only {', '.join(DTYPES)} can be given.")
    if steps.dtype not in ("", takes.dtype):
        raise ConfigurationError(f"The network's input is {takes}: leave --dtype {steps.dtype} out.")
    if len(takes.shape) != 4:
        raise ConfigurationError(f"The network's input is {takes}: expected four sides, those of one picture.")
    if takes.shape[0] not in (None, 1):
        raise ConfigurationError(
            f"The network's input is {takes}: it takes {takes.shape[0]} pictures at a time. Export it for one, or for any number."
        )
    if any(has not in (None, given) for has, given in zip(takes.shape, steps.shape, strict=True)):
        raise ConfigurationError(
            f"The network's input is {takes}; --size {steps.width}x{steps.height} --layout {steps.layout} --channels "
            f"{steps.channels} would give {steps.shape}. Change these options."
        )
    return takes


def _output(steps: Steps, network: Network) -> Tensor:
    if not steps.output and len(network.outputs) != 1:
        raise ConfigurationError(
            f"The network has {len(network.outputs)} outputs: {_listed(network.outputs)}. Choose one with --output NAME."
        )
    gives = next((each for each in network.outputs if each.name == steps.output or not steps.output), None)
    if gives is None:
        raise ConfigurationError(
            f"The network has no output {steps.output!r}, only: {_listed(network.outputs)}. Choose one with --output NAME."
        )
    if gives.dtype not in _ANSWERS:
        raise ConfigurationError(
            f"The network's output is {gives}: of types only {', '.join(_ANSWERS)} make embeddings."
        )
    return gives


def check_answer(shape: tuple[int, ...], gives: Tensor) -> int:
    """The numbers in an embedding, of the shape of what the network answered for one picture.

    Raises:
        ConfigurationError: that is no row of numbers, or there are too many.
    """
    if len(shape) < 2 or shape[0] != 1 or any(side != 1 for side in shape[2:]):
        raise ConfigurationError(
            f"For one picture the network's output {gives.name!r} has the shape {shape}, expected (1, d): one embedding. Choose "
            "another one with --output NAME, or export the network with its pooling."
        )
    if not 1 <= shape[1] <= DIMENSIONS_MAX:
        raise ConfigurationError(
            f"The network's output {gives.name!r} has {shape[1]} numbers, expected 1 to {DIMENSIONS_MAX}. Export it with a layer "
            "behind that leaves so many, such as principal components."
        )
    return shape[1]


def _listed(tensors: list[Tensor]) -> str:
    return ", ".join(map(str, tensors))
