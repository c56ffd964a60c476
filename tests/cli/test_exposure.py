"""What a grant could do at worst is said whole."""

from dataclasses import replace

from custody.cli.exposure import exposure_lines, exposure_told
from custody.policies.types import Exposure, Limits

EXPOSURE = Exposure(
    hosts=(), readable=(), writable=("/srv/data/shared",), limits=Limits(), packages_with_findings=(), new=()
)


def test_that_a_writable_place_can_be_filled_is_said() -> None:
    said = "fill what it may write, with any number of files of up to 64 MiB"
    assert said in list(exposure_lines(EXPOSURE, EXPOSURE.limits))
    assert said not in list(exposure_lines(replace(EXPOSURE, writable=()), EXPOSURE.limits))
    assert list(exposure_told("denied", EXPOSURE, EXPOSURE.limits)) == ["at worst it could: nothing, it is denied"]
