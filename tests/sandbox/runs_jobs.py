"""Started as another user by the fixture `unprivileged`: runs pickled jobs and pickles their outcomes."""

import pickle
import sys
from pathlib import Path

from custody.sandbox import JailSettings, Sandbox

sandbox = Sandbox(JailSettings(state=Path(sys.argv[2]), nsjail=Path(sys.argv[1]), python=Path(sys.executable)))
outcomes = [sandbox.run(job, grant) for job, grant in pickle.load(sys.stdin.buffer)]  # noqa: S301 - written by our own parent
sys.stdout.buffer.write(pickle.dumps(outcomes))
