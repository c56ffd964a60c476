"""What a grant could do at worst, in lines; the same words wherever it is shown."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .output import shown

if TYPE_CHECKING:
    from ..ledger.events import ExposureRecord, LimitsRecord
    from ..policies.types import Exposure, Limits

__all__ = ["exposure_lines", "exposure_told"]


def exposure_told(
    verdict: str, exposure: "Exposure | ExposureRecord", limits: "Limits | LimitsRecord | None"
) -> Iterator[str]:
    """A heading and one line for each thing that it could do; what is denied can do nothing, not even use up a limit."""
    if verdict == "denied":
        yield "at worst it could: nothing, it is denied"
        return
    yield "at worst it could:"
    for line in exposure_lines(exposure, limits):
        yield f"  {line}"


def exposure_lines(exposure: "Exposure | ExposureRecord", limits: "Limits | LimitsRecord | None") -> Iterator[str]:
    """One line for each thing that it could do."""
    yield f"reach {', '.join(map(shown, exposure.hosts)) or 'no host'}"
    readable, writable = (", ".join(map(shown, paths)) for paths in (exposure.readable, exposure.writable))
    yield f"read {readable or 'no file of this machine'}, write {writable or 'none'}"
    if limits is not None:
        yield (
            f"use {limits.wall_seconds} s, {limits.memory_mib} MiB, {limits.processes} processes, "
            f"{limits.output_kib} KiB of output"
        )
        if exposure.writable:
            yield f"fill what it may write, with any number of files of up to {limits.disk_mib} MiB"
    if exposure.packages_with_findings:
        yield f"use packages with findings: {', '.join(map(shown, exposure.packages_with_findings))}"
    if exposure.new:
        yield f"new for this principal: {', '.join(map(shown, exposure.new))}"
