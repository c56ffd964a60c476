"""A proof is checked by somebody who has none of this code: by the program that stands in docs/ledger.md."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from custody.errors import EvidenceError
from custody.ledger import Ledger, check_proof

from .drafts import Drafts

PAGE = Path(__file__).parents[2] / "docs" / "ledger.md"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    path = tmp_path_factory.mktemp("stranger") / "check.py"
    path.write_text(code, encoding="utf-8")
    return path


def checked(program: Path, proof: str, key: str) -> subprocess.CompletedProcess[str]:
    folder = program.parent
    (folder / "receipt.tlog-proof").write_text(proof, encoding="utf-8")
    (folder / "verifier.key").write_text(f"{key}\n", encoding="utf-8")
    command = [sys.executable, "-I", *map(str, (program, folder / "receipt.tlog-proof", folder / "verifier.key"))]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_stranger_checks_a_proof_with_the_page_alone(ledger: Ledger, drafts: Drafts, program: Path) -> None:
    ledger.append(drafts.several(261))
    ledger.rotate_key(event_id="rotation", actor="root", time=drafts.make().time)
    for index in (0, 7, 255, 256, 260, 261):
        done = checked(program, ledger.prove(index, with_leaf=True), ledger.verifier_key)
        assert done.stdout.encode() == ledger.entry_at(index).leaf + b"\n", done.stderr


def test_a_stranger_is_not_fooled(ledger: Ledger, drafts: Drafts, program: Path, tmp_path: Path) -> None:
    ledger.append(drafts.several(5))
    proof, key = ledger.prove(2, with_leaf=True), ledger.verifier_key
    other = ledger.prove(3, with_leaf=True).split("\n")[1]
    lines = proof.split("\n")
    another_index = "\n".join([*lines[:2], "index 3", *lines[3:]])
    another_leaf = "\n".join([lines[0], other, *lines[2:]])
    another_size = proof.replace("\n5\n", "\n6\n")
    cut_path = "\n".join([*lines[:3], *lines[4:]])
    for forged in (another_index, another_leaf, another_size, cut_path):
        assert forged != proof
        assert checked(program, forged, key).returncode != 0
        with pytest.raises(EvidenceError):
            check_proof(forged, None, key)


def test_a_proof_carries_its_leaf_only_if_asked_to(ledger: Ledger, drafts: Drafts) -> None:
    ledger.append(drafts.several(3))
    leaf = ledger.entry_at(1).leaf
    assert check_proof(ledger.prove(1, with_leaf=True), None, ledger.verifier_key).leaf == leaf
    assert check_proof(ledger.prove(1), leaf, ledger.verifier_key).index == 1
    with pytest.raises(EvidenceError, match="does not lead from this entry"):
        check_proof(ledger.prove(1), None, ledger.verifier_key)
