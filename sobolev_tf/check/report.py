"""The report of the label check: findings, and a verdict to print."""

import dataclasses
import math

_COMPONENTS, _FINDINGS = 6, 12  # that are printed


@dataclasses.dataclass(frozen=True)
class Finding:
    """A fault of the labels, or the finding that the data cannot tell.

    Attributes:
      kind: the kind of the finding, see `check_labels`.
      number: depends on the kind: the factor by which dy is too large (wrong scale, wrong sign),
        the offset of the rows (NaN: there is none), the number of entries out of place, the
        distance to the other points in standard deviations of x, the share of steps or rows
        concerned, or a relative error.
      message: what is wrong, and what to do.
      outputs: the components concerned, as indices of y[row] (tuples for images); empty: all.
      inputs: the components concerned, as indices of x[row]; empty: all.
    """

    kind: str
    number: float
    message: str
    outputs: tuple = ()
    inputs: tuple = ()

    def __str__(self) -> str:
        parts = []
        for name, indices in (("output", self.outputs), ("input", self.inputs)):
            if indices:
                more = ", ..." if len(indices) > _COMPONENTS else ""
                parts.append(f"{name} {', '.join(map(str, indices[:_COMPONENTS]))}{more}")
        where = [", ".join(parts)] if parts else []
        return ": ".join([self.kind, *where, self.message])


@dataclasses.dataclass(frozen=True)
class LabelCheck:
    """The result of `check_labels`; print it.

    Attributes:
      findings: a tuple of `Finding`; empty if the labels agree.
      error: the relative distance of the rises that dy implies from those of y: 0 if they agree,
        about 1 if dy carries no information about y, above 1 if dy is misleading; NaN if nothing
        was compared.
      evidence: what was compared.
    """

    findings: tuple
    error: float
    evidence: str

    @property
    def ok(self) -> bool:
        """Whether no fault was found; True also where the data cannot tell, see `decided`."""
        return all(f.kind == "cannot tell" for f in self.findings)

    @property
    def decided(self) -> bool:
        """Whether the data could have shown a fault in every output."""
        return all(f.kind != "cannot tell" for f in self.findings)

    def __str__(self) -> str:
        verdict = "labels agree" if self.decided else "labels not decided"
        if not self.ok:
            only_kinks = {f.kind for f in self.findings} == {"kinks"}
            verdict = "labels agree, but for kinks" if only_kinks else "labels disagree"
        error = f"error {self.error:.2g} (0: they agree, 1: unrelated) over {self.evidence}"
        if math.isnan(self.error):
            error = f"there were {self.evidence} to compare"
        lines = [f"{verdict}: {error}"]
        lines += [f"- {f}" for f in self.findings[:_FINDINGS]]
        if len(self.findings) > _FINDINGS:
            lines.append("- ...")
        return "\n".join(lines)
