"""Started as another user: carries out attacks, each with the layer to take away, and pickles what came of them and what doctor says."""

import pickle
import sys
from pathlib import Path

from custody.sandbox import JailSettings, Sandbox
from tests.attacks.cases import carry_out

settings = JailSettings(state=Path(sys.argv[2]), nsjail=Path(sys.argv[1]), python=Path(sys.executable))
cases, bait = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by our own parent
carried = {(attack.name, layer): carry_out(attack, bait, settings, without=layer) for attack, layer in cases}
sys.stdout.buffer.write(pickle.dumps((carried, Sandbox(settings).layers())))
