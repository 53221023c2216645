"""How wide the paper's net for CIFAR-10 may be, before anything is built."""

from train.lib.run import memory
from train.lib.run.settings import Settings

CONVOLUTION_WEIGHTS = 7.8e6  # of the paper's net
LAST_POSITIONS = 4 * 4  # to which its convolutions answer at the end
SMALLEST_CUT = 64  # channels of the paper's net at its first cut


def refuse_too_wide(settings: Settings) -> None:
    """Raise UsageError for a net or a critic whose weights alone do not fit into memory."""
    width = settings.width_multiplier
    state = 3 * memory.FLOAT  # of each weight: itself, its gradient, its momentum
    memory.refuse_more_than_there_is(
        f"--width_multiplier={width:g}", width**2 * CONVOLUTION_WEIGHTS * state
    )
    critic_width = settings.critic_width_multiplier or width
    inputs = 9 * width * SMALLEST_CUT  # of a critic's convolution, 3x3
    outputs = settings.batch_size * LAST_POSITIONS * memory.FLOAT
    memory.refuse_more_than_there_is(
        f"--critic_width_multiplier={critic_width:g}",
        critic_width * 128 * (inputs * state + outputs),
    )
