"""The settings of the teacher's learner, and their defaults."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class LearnerSettings:
    """Settings of the actor-critic learner, named as the flags of `python -m train.teacher`.

    Args:
      num_actors: actor-learners that run side by side without a lock; 1 is synchronous A2C.
      num_envs: games that an actor plays at once, N.
      unroll_length: steps of every game between two updates, T.
      optimizer: "adam", or "rmsprop", which is A3C's.
      learning_rate: at the start; it falls linearly to zero.
      value_cost: weight of the value's squared error in the loss; 0.5 is A3C's.
      entropy_cost: weight of the policy's entropy in the loss.
      gae_lambda: lambda of the generalized advantages; 1 gives A3C's n-step returns.
      discount: gamma, what a point is worth one agent step later.
      normalize_advantages: scale advantages to mean 0 and deviation 1 within a batch. Where points
        are rare, as in Pong, the value's gradient is otherwise twenty times the policy's, and
        features of the policy drift with its noise. A3C does not normalize.
      jit_compile: compile policy and update with XLA.
    """

    num_actors: int = 2
    num_envs: int = 16
    unroll_length: int = 16
    optimizer: str = "adam"
    learning_rate: float = 5e-4
    value_cost: float = 0.5
    entropy_cost: float = 0.01
    gae_lambda: float = 0.95
    discount: float = 0.99
    normalize_advantages: bool = True
    jit_compile: bool = False

    @property
    def batch_size(self) -> int:
        """Steps in one update."""
        return self.num_envs * self.unroll_length

    @property
    def round_size(self) -> int:
        """Steps until every actor has ended an update."""
        return self.batch_size * self.num_actors

    @classmethod
    def of(cls, settings) -> "LearnerSettings":
        """Return those of a script's settings, which have the same names."""
        return cls(
            **{field.name: getattr(settings, field.name) for field in dataclasses.fields(cls)}
        )
