"""The numbers that `train.theory` prints, statement by statement."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

import sobolev_tf as st
from train.theory import examples, existence, sample_counts


class Table(NamedTuple):
    """A statement with the numbers that show it."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def all_tables() -> list[Table]:
    """Compute every table, in the order of the paper."""
    return [
        lemma_1(),
        theorem_1(),
        theorem_2(),
        proposition_1(),
        polynomials(),
        gaussians(),
        linear_pieces(),
    ]


def lemma_1() -> Table:
    """Interpolate functions at given errors."""
    rows = []
    for function in examples.SMOOTH:
        for epsilon in examples.EPSILONS:
            p = existence.approximate(function, epsilon)
            value, slope = existence.errors(function, p)
            pieces = f"{len(p.knots) - 1:,}"
            rows.append([function.name, f"{epsilon:g}", pieces, f"{value:.2g}", f"{slope:.2g}"])
    header = ["function", "epsilon", "pieces", "value error", "slope error"]
    return Table("Lemma 1: piecewise linear approximation", header, rows)


def theorem_1() -> Table:
    """Replace the sigmoids of a net by ReLUs at given errors, and measure at random points."""
    x = np.random.default_rng(0).uniform(-3, 3, [2000, 2])
    kernel, bias, weights = examples.sigmoid_net(units=4, dims=2)
    values = 1 / (1 + np.exp(-(x @ kernel + bias)))
    gradients = (values * (1 - values) * weights) @ kernel.T
    rows = []
    for epsilon in examples.EPSILONS:
        net = existence.relu_copy(kernel, bias, weights, epsilon)
        jet = st.jet(net, x)
        value = np.max(np.abs(jet.value[:, 0] - values @ weights))
        gradient = np.max(np.linalg.norm(jet.derivatives[0][:, 0] - gradients, axis=1))
        rows.append([f"{epsilon:g}", f"{net.layers[0].units:,}", f"{value:.2g}", f"{gradient:.2g}"])
    header = ["epsilon", "ReLUs", "value error", "gradient error"]
    return Table("Theorem 1: ReLUs in place of 4 sigmoids of 2 inputs", header, rows)


def theorem_2() -> Table:
    """Bound how near a function with its slope can come to labels that contradict each other."""
    rows = []
    for length in (0.5, 1.0, 4.0):
        bound = existence.shortest_distance(lambda x: 0.0, lambda x: x, 0.0, length)
        slope = 2 / (2 + length)  # of the line through the middle, which is nearest
        reached = max(slope * length / 2, 1 - slope)
        rows.append([f"{length:g}", f"{bound:.4f}", f"{reached:.4f}"])
    header = ["length of the interval", "no function is nearer than", "the nearest line"]
    return Table("Theorem 2: value 0 and slope 1 everywhere", header, rows)


def proposition_1() -> Table:
    """Build nets for labels that no simple function has, and measure their losses."""
    cases = [("sin x with slopes of -sin x", examples.contradictory_labels(7))]
    cases += [(f"noise, D = {d}", examples.random_labels(20, d)) for d in (1, 2, 3, 5)]
    rows = []
    for name, (x, y, dy) in cases:
        for slope in (0.0, 0.1):
            net = existence.interpolating_net(x, y, dy, slope)
            jet = st.jet(net, x)
            value = np.max(np.abs(jet.value[:, 0] - y))
            gradient = np.max(np.abs(jet.derivatives[0][:, 0] - dy))
            exact = "yes" if max(value, gradient) < 1e-9 else f"{max(value, gradient):.1g}"
            units = str(net.layers[0].units)
            rows.append([name, str(len(x)), "leaky ReLU" if slope else "ReLU", units, exact])
    header = ["labels", "points", "units of", "hidden units", "all matched to 1e-9"]
    return Table("Proposition 1: any values and gradients at finitely many points", header, rows)


def polynomials() -> Table:
    """Count the points that determine a polynomial.

    For even n the paper's n/2 points with slopes are too few: the square of a polynomial with these
    roots has value 0 and slope 0 at all of them, and is not zero.
    """
    rows = []
    for degree in range(1, 8):

        def needed(slopes: bool, degree: int = degree) -> str:
            def equations(k: int) -> np.ndarray:
                return sample_counts.polynomial_equations(np.arange(k) / degree, degree, slopes)

            return str(sample_counts.points_needed(equations))

        rows.append([str(degree), needed(False), needed(True), str(-(-degree // 2))])
    header = ["degree", "K_reg", "K_sob", "K_sob in the paper"]
    return Table("Propositions 2 and 3: polynomials", header, rows)


def gaussians() -> Table:
    """Find the second Gaussian of Proposition 3, and each from one point with a slope."""
    first = examples.FIRST_GAUSSIAN
    second = sample_counts.other_gaussian(
        *first, examples.MEETING_POINTS, examples.NEAR_SECOND_GAUSSIAN
    )
    rows = []
    for mean, deviation in (first, second):
        densities = [sample_counts.gaussian(x, mean, deviation) for x in examples.MEETING_POINTS]
        value = float(sample_counts.gaussian(0.0, mean, deviation))
        slope = float(sample_counts.gaussian_slope(0.0, mean, deviation))
        recovered = sample_counts.gaussian_of_value_and_slope(0.0, value, slope)
        rows.append(
            [
                f"N({mean:.5f}, {deviation:.5f}²)",
                *[f"{density:.6f}" for density in densities],
                f"{slope:.6f}",
                f"N({recovered[0]:.5f}, {recovered[1]:.5f}²)",
            ]
        )
    header = ["density", "at 0", "at 3", "slope at 0", "from value and slope at 0"]
    return Table("Proposition 3: Gaussians", header, rows)


def linear_pieces() -> Table:
    """Count the points in a piece that determine a linear map there."""
    rows = []
    for dims in (1, 2, 3, 10):
        x = np.random.default_rng(dims).normal(size=[dims + 1, dims])

        def needed(slopes: bool, x: np.ndarray = x) -> str:
            def equations(k: int) -> np.ndarray:
                return sample_counts.linear_equations(x[:k], slopes)

            return str(sample_counts.points_needed(equations))

        rows.append([str(dims), needed(False), needed(True)])
    header = ["D", "points with values", "points with values and slopes"]
    return Table("Proposition 3: maps linear on each piece, points in a piece", header, rows)
