"""Started as another user: carries out the attacks, each as it is and without its layer, and pickles the outcomes."""

import pickle
import sys
from pathlib import Path

from custody.sandbox import JailSettings
from tests.attacks.cases import carry_out

settings = JailSettings(state=Path(sys.argv[2]), nsjail=Path(sys.argv[1]), python=Path(sys.executable))
attacks, bait = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by our own parent
outcomes = {
    (attack.name, layer): carry_out(attack, bait, settings, without=layer)
    for attack in attacks
    for layer in ("", attack.layer)
    if layer != "pid_namespace"  # without it the end of a run kills every process of this user, this one first
}
sys.stdout.buffer.write(pickle.dumps(outcomes))
