"""What the label check says: findings, and the verdict that one prints."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Finding:
    """A fault, or that the data cannot tell.

    outputs, inputs: the components concerned, as indices into y[row] and x[row] (tuples for
    images); empty: all. number: how many times too large dy is (wrong scale, wrong sign), the
    rows' offset (NaN: none), the entries out of place, the distance to the other points in
    standard deviations of x, the share of steps or rows concerned, or a relative error.
    """

    kind: str
    number: float
    message: str
    outputs: tuple = ()
    inputs: tuple = ()

    def __str__(self):
        parts = [
            f"{name} {', '.join(map(str, indices[:6]))}{', ...' * (len(indices) > 6)}"
            for name, indices in (("output", self.outputs), ("input", self.inputs))
            if indices
        ]
        return ": ".join([self.kind, *([", ".join(parts)] if parts else []), self.message])


@dataclasses.dataclass(frozen=True)
class LabelCheck:
    """What `check_labels` found; print it.

    ok: no fault was found. decided: the data could have shown one. error: how far the rises that
    dy promises are from those of y: 0 where labels agree, about 1 where they say nothing, above
    1 where they mislead.
    """

    findings: tuple
    error: float
    evidence: str

    @property
    def ok(self) -> bool:
        return all(f.kind == "cannot tell" for f in self.findings)

    @property
    def decided(self) -> bool:
        return all(f.kind != "cannot tell" for f in self.findings)

    def __str__(self):
        verdict = "labels agree" if self.decided else "labels not decided"
        if not self.ok:
            only_kinks = {f.kind for f in self.findings} == {"kinks"}
            verdict = "labels agree, but for kinks" if only_kinks else "labels disagree"
        error = f"error {self.error:.2g} (1: dy says nothing of y)"
        lines = [f"{verdict}: {error} over {self.evidence}"]
        lines += [f"- {f}" for f in self.findings[:12]]
        return "\n".join(lines + ["- ..."] * (len(self.findings) > 12))
