"""What the label check reports: findings, and the verdict that one prints."""

import dataclasses

_COMPONENTS, _FINDINGS = 6, 12  # that are printed


@dataclasses.dataclass(frozen=True)
class Finding:
    """A fault, or that the data cannot tell.

    Attributes:
      kind: what it is: see `check_labels`.
      number: how many times too large dy is (wrong scale, wrong sign); the rows' offset (NaN:
        none); the entries out of place; the distance to the other points, in standard deviations
        of x; the share of steps or rows concerned; or a relative error.
      message: what is wrong, and what to do.
      outputs: the components concerned, as indices into y[row] (tuples for images); empty: all.
      inputs: likewise into x[row].
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
    """What `check_labels` found; print it.

    Attributes:
      findings: faults, or that the data cannot tell; empty where labels agree.
      error: how far the rises that dy implies are from those of y: 0 where labels agree, about 1
        where they say nothing, above 1 where they mislead.
      evidence: what was looked at.
    """

    findings: tuple
    error: float
    evidence: str

    @property
    def ok(self) -> bool:
        """Whether no fault was found."""
        return all(f.kind == "cannot tell" for f in self.findings)

    @property
    def decided(self) -> bool:
        """Whether the data could have shown a fault."""
        return all(f.kind != "cannot tell" for f in self.findings)

    def __str__(self) -> str:
        verdict = "labels agree" if self.decided else "labels not decided"
        if not self.ok:
            only_kinks = {f.kind for f in self.findings} == {"kinks"}
            verdict = "labels agree, but for kinks" if only_kinks else "labels disagree"
        error = f"error {self.error:.2g} (1: dy says nothing of y)"
        lines = [f"{verdict}: {error} over {self.evidence}"]
        lines += [f"- {f}" for f in self.findings[:_FINDINGS]]
        if len(self.findings) > _FINDINGS:
            lines.append("- ...")
        return "\n".join(lines)
