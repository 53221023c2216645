"""One comparison of terms that have different numbers of rows."""

from sobolev_tf.model.terms import Comparison


def combine(values: Comparison, derivatives: Comparison) -> Comparison:
    """Take the value's term from one comparison, and all other terms from another one.

    Args:
      values: of all rows.
      derivatives: of the rows that were drawn.

    Returns:
      A comparison whose terms have different numbers of rows.
    """
    fields = zip(values[1:4], derivatives[1:4], strict=True)
    labels, predicted, weights = ({**terms, **_value_of(all_rows)} for all_rows, terms in fields)
    order = ["value", *(name for name in labels if name != "value")]
    return Comparison(values.x, {name: labels[name] for name in order}, predicted, weights)


def _value_of(terms):
    return {"value": terms["value"]} if "value" in terms else {}
