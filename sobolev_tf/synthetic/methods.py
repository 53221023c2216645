"""The methods of a DecoupledModel, and what their critics learn."""

from sobolev_tf import require

# Weights of |m - L| and of |SG - dL/dh| in the critics' loss.
TERM_WEIGHTS = {
    "sobolev": (1.0, 1.0),
    "critic": (1.0, 0.0),
    "vfbn": (0.0, 1.0),
    "direct": (0.0, 1.0),
}
CRITIC_METHODS = tuple(TERM_WEIGHTS)
CONTROLS = ("random", "flipped")  # no critics, see `controls`
# `noprop` has no critics either and sends nothing below a cut; `backprop` is plain training.
METHODS = (*CRITIC_METHODS, "noprop", "backprop", *CONTROLS)


def check_method(caller: str, method: str, placed: bool) -> None:
    """Raise ValueError for an unknown method, or for a control with a placement."""
    require.one_of(caller, "method", method, METHODS)
    if placed and method in CONTROLS:
        raise ValueError(
            f"{caller}: placement: method={method!r} needs full backpropagation, for which every "
            "stage waits."
        )
