"""Started as a user of its own: carries out one attack without a layer, and passes on what it says, to the very moment that kills this process."""

import os
import pickle
import sys
from pathlib import Path

from custody.sandbox import JailSettings
from tests.attacks.cases import carry_out

settings = JailSettings(state=Path(sys.argv[2]), nsjail=Path(sys.argv[1]), python=Path(sys.executable))
attack, bait = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by our own parent


def pass_on(_: str, content: bytes) -> None:
    os.write(1, content)


carry_out(attack, bait, settings, without=attack.layer, listen=pass_on)
