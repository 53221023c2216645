"""Networks whose stages train on synthetic gradients (section 4.3, SM 4)."""

from sobolev_tf.synthetic.critic_updates import CRITIC_UPDATES
from sobolev_tf.synthetic.critics import cifar_critic, dense_critic, direct_module, imagenet_critic
from sobolev_tf.synthetic.decoupled import DecoupledModel
from sobolev_tf.synthetic.layers import DirectGradient, SyntheticGradient
from sobolev_tf.synthetic.methods import CRITIC_METHODS, METHODS
from sobolev_tf.synthetic.splitting import split

__all__ = [
    "CRITIC_METHODS",
    "CRITIC_UPDATES",
    "METHODS",
    "DecoupledModel",
    "DirectGradient",
    "SyntheticGradient",
    "cifar_critic",
    "dense_critic",
    "direct_module",
    "imagenet_critic",
    "split",
]
