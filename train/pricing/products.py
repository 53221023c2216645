"""Two options that can be simulated, and their prices and deltas in closed form.

As in Huge & Savine, "Differential Machine Learning" (Risk, 2020): a training example is a state
of the market at T1, the payoff at T2 of one path that starts there, and the derivative of that
payoff along that path. The price is the mean payoff given the state, which no example shows.
No rates, no dividends; spots today are 1.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

import sobolev_tf as st

STRIKE, VOLATILITY = 1.1, 0.2
T1, T2 = 1.0, 2.0
WIDER = 1.5  # volatility up to T1, over VOLATILITY: more states in the wings
MARKET_SEED = 1234  # of a basket's weights, volatilities and correlations

_erf = np.vectorize(math.erf, otypes=[float])


@dataclasses.dataclass(frozen=True)
class Product:
    """An option on D assets; all arrays are float64."""

    name: str
    title: str
    num_assets: int
    simulate: Callable[[int, np.random.Generator], tuple[np.ndarray, ...]]
    closed_form: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    level: Callable[[np.ndarray], np.ndarray]  # of the underlying, states [B,D] -> [B]

    def paths(self, count: int, seed: tuple[int, ...]) -> st.targets.Table:
        """Simulate one path from each of `count` states.

        Returns:
          States [B,D], payoffs [B,1], and pathwise derivatives [B,1,D].
        """
        return st.targets.Table(*self.simulate(count, np.random.default_rng(seed)))

    def prices(self, count: int, seed: tuple[int, ...]) -> st.targets.Table:
        """Draw states as `paths` does, with their true prices [B,1] and deltas [B,1,D]."""
        states, *_ = self.simulate(count, np.random.default_rng(seed))
        return st.targets.Table(states, *self.closed_form(states))


def call() -> Product:
    """Return a European call in Black & Scholes' model: lognormal spot.

    The pathwise derivative is 1{S2 > K} S2 / S1.
    """

    def simulate(count, rng):
        normal = rng.normal(size=[2, count, 1])
        at_t1 = _lognormal(WIDER * VOLATILITY * math.sqrt(T1), normal[0])
        growth = _lognormal(VOLATILITY * math.sqrt(T2 - T1), normal[1])
        at_t2 = at_t1 * growth
        slope = np.where(at_t2 > STRIKE, growth, 0)
        return at_t1, np.maximum(at_t2 - STRIKE, 0), slope[:, None]

    def closed_form(spot):
        deviation = VOLATILITY * math.sqrt(T2 - T1)
        d1 = np.log(spot / STRIKE) / deviation + deviation / 2
        price = spot * normal_cdf(d1) - STRIKE * normal_cdf(d1 - deviation)
        return price, normal_cdf(d1)[:, None]

    return Product(
        name="call",
        title="Black-Scholes call",
        num_assets=1,
        simulate=simulate,
        closed_form=closed_form,
        level=lambda spot: spot[:, 0],
    )


def basket(num_assets: int) -> Product:
    """Return a call on a basket in Bachelier's model: normal, correlated spots.

    Weights, volatilities and correlations are drawn once; the volatilities are scaled so that
    the basket's is VOLATILITY. The pathwise derivative is 1{basket > K} times the weights.
    """
    rng = np.random.default_rng([MARKET_SEED, num_assets])
    weights = rng.uniform(1, 10, num_assets)
    weights /= weights.sum()
    factors = rng.uniform(size=[2 * num_assets, num_assets])
    covariance = factors.T @ factors
    scale = rng.uniform(5, 50, num_assets) / np.sqrt(np.diag(covariance))
    covariance *= scale[:, None] * scale
    covariance *= VOLATILITY**2 / (weights @ covariance @ weights)
    root = np.linalg.cholesky(covariance)

    def simulate(count, rng):
        normal = rng.normal(size=[2, count, num_assets])
        at_t1 = 1 + WIDER * math.sqrt(T1) * normal[0] @ root.T
        at_t2 = at_t1 + math.sqrt(T2 - T1) * normal[1] @ root.T
        level = at_t2 @ weights[:, None]
        slopes = np.where(level > STRIKE, weights, 0)
        return at_t1, np.maximum(level - STRIKE, 0), slopes[:, None]

    def closed_form(spots):
        deviation = VOLATILITY * math.sqrt(T2 - T1)
        above = spots @ weights[:, None] - STRIKE
        d = above / deviation
        price = above * normal_cdf(d) + deviation * np.exp(-(d**2) / 2) / math.sqrt(2 * math.pi)
        return price, (normal_cdf(d) * weights)[:, None]

    return Product(
        name="basket",
        title=f"Bachelier basket of {num_assets}",
        num_assets=num_assets,
        simulate=simulate,
        closed_form=closed_form,
        level=lambda spots: spots @ weights,
    )


NAMES = ("call", "basket")
MOST_ASSETS = 1000


def make(name: str, num_assets: int) -> Product:
    """Return the product of a name; `num_assets` is of baskets only."""
    return call() if name == "call" else basket(num_assets)


def normal_cdf(x: np.ndarray) -> np.ndarray:
    """Return the standard normal distribution function.

    >>> normal_cdf(np.array([0.0, 1.959964])).round(6).tolist()
    [0.5, 0.975]
    """
    return (1 + _erf(x / math.sqrt(2))) / 2


def _lognormal(deviation: float, normal: np.ndarray) -> np.ndarray:
    """Return a factor of mean 1."""
    return np.exp(deviation * normal - deviation**2 / 2)
