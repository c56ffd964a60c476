"""Signed notes, checkpoints, keys and proofs: C2SP's texts, read strictly."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.errors import EvidenceError
from custody.ledger.notes import (
    Proof,
    Signer,
    Verifier,
    is_key_name,
    parse_checkpoint,
    parse_proof,
    read_checkpoint,
    render_proof,
    sign_checkpoint,
)
from custody.ledger.tree import leaf_hash

GO_SIGNER = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_VERIFIER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
"""The key pair of the documentation of Go's note package."""
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)

SIGNER = Signer("log.example/a", bytes(range(32)))
OTHER = Signer("log.example/a", bytes(range(1, 33)))
ROOT = leaf_hash(b"x")
CHECKPOINT = sign_checkpoint("log.example/a", 7, ROOT, [SIGNER])


def test_keys_and_signatures_are_those_of_gos_note_package() -> None:
    signer = Signer.parse(GO_SIGNER)
    assert (str(signer.verifier), signer.private_text()) == (GO_VERIFIER, GO_SIGNER)
    assert signer.signature_line(GO_TEXT) == GO_LINE
    assert Verifier.parse(GO_VERIFIER + "\n") == signer.verifier


def test_a_checkpoint_comes_back() -> None:
    assert parse_checkpoint(CHECKPOINT.note, SIGNER.verifier) == CHECKPOINT == read_checkpoint(CHECKPOINT.note)
    assert CHECKPOINT.note.split("\n")[:2] == ["log.example/a", "7"]
    assert base64.b64decode(CHECKPOINT.note.split("\n")[2]) == ROOT


def test_unknown_signatures_are_ignored_and_every_asked_for_key_must_have_signed() -> None:
    both = sign_checkpoint("log.example/a", 7, ROOT, [OTHER, SIGNER])
    for keys in ([SIGNER], [OTHER], [SIGNER, OTHER]):
        assert parse_checkpoint(both.note, *[s.verifier for s in keys]) == both
    with pytest.raises(EvidenceError, match="is not signed by"):
        parse_checkpoint(CHECKPOINT.note, SIGNER.verifier, OTHER.verifier)


def test_every_signature_that_claims_the_key_must_be_right() -> None:
    wrong = OTHER.signature_line("x\n").split(" ")
    raw = SIGNER.verifier.key_id + base64.b64decode(wrong[2])[4:]
    line = f"{wrong[0]} {wrong[1]} {base64.b64encode(raw).decode()}\n"
    with pytest.raises(EvidenceError, match=r"signature .* is wrong"):
        parse_checkpoint(CHECKPOINT.note + line, SIGNER.verifier)


@given(st.data())
@settings(deadline=None)
def test_no_single_changed_character_is_accepted(data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(CHECKPOINT.note) - 1))
    character = data.draw(st.characters(exclude_categories=["Cs"]))
    changed = CHECKPOINT.note[:position] + character + CHECKPOINT.note[position + 1 :]
    if changed != CHECKPOINT.note:
        with pytest.raises(EvidenceError):
            parse_checkpoint(changed, SIGNER.verifier)


NOTE = CHECKPOINT.note


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n",
        "\n\n",
        NOTE.replace("\n", "\r\n"),
        NOTE + "\n",
        NOTE[:-1],
        NOTE.replace("\n7\n", "\n07\n"),
        NOTE.replace("\n7\n", "\n+7\n"),
        NOTE.replace("\n7\n", "\n7 \n"),
        NOTE.replace("\n7\n", "\n-7\n"),
        NOTE.replace("\n7\n", "\n\N{ARABIC-INDIC DIGIT SEVEN}\n"),
        NOTE.replace("\n7\n", f"\n{1 << 63}\n"),
        NOTE.replace("\n7\n", "\n7\n\n"),
        NOTE.replace("\n\n", "\nextension\n\n"),
        NOTE.replace("\n\n", "\n\n\n"),
        NOTE.replace("—", "-"),
        NOTE.replace("— ", "—  "),
        NOTE.replace("=\n\n", "\n\n"),
        NOTE.replace("=\n\n", "==\n\n"),
        NOTE.replace("\n\n", "\n\n" + "— x AAAA\n"),
        NOTE + "— a b c\n",
        NOTE + "— other AAAAAAA=\n" * 16,
        NOTE.replace("log.example/a\n7", "log.example/a+b\n7"),
        "x" * 70000 + NOTE,
    ],
)
def test_notes_that_are_not_exactly_right_are_refused(note: str) -> None:
    with pytest.raises(EvidenceError):
        parse_checkpoint(note, SIGNER.verifier)


def test_a_hash_in_another_spelling_of_base64_is_refused() -> None:
    """The last character of 32 bytes carries two unused bits."""
    line = NOTE.split("\n")[2]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    malleable = line[:-2] + alphabet[alphabet.index(line[-2]) ^ 1] + "="
    assert base64.b64decode(malleable) == ROOT
    with pytest.raises(EvidenceError, match="canonical"):
        read_checkpoint(NOTE.replace(line, malleable))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+c74f20a3",
        GO_VERIFIER.replace("c74f20a3", "C74F20A3"),
        GO_VERIFIER.replace("c74f20a3", "c74f20a4"),
        GO_VERIFIER.replace("PeterNeumann", "Peter"),
        GO_VERIFIER[:-1],
        "n+00000000+AA==",
    ],
)
def test_verifier_keys_that_are_not_exactly_right_are_refused(text: str) -> None:
    with pytest.raises(EvidenceError):
        Verifier.parse(text)


@pytest.mark.parametrize(
    "text", ["", GO_VERIFIER, GO_SIGNER[:-2], GO_SIGNER.replace("c74f20a3", "00000000"), "PRIVATE+KEY+a+b+AA=="]
)
def test_signing_keys_that_are_not_exactly_right_are_refused(text: str) -> None:
    with pytest.raises(EvidenceError):
        Signer.parse(text)


def test_names_of_keys_hold_no_spaces_and_no_plus() -> None:
    assert is_key_name("host.example/audit")
    assert not any(map(is_key_name, ["", "a b", "a+b", "a\u00a0b", "a\u2003b", "a\nb", "\u200b"]))


def test_a_proof_comes_back_with_or_without_extra_data() -> None:
    for path in ((), (ROOT,), (ROOT, leaf_hash(b"y"))):
        proof = Proof(3, path, NOTE)
        assert parse_proof(render_proof(proof)) == proof
        carrying = parse_proof(render_proof(proof).replace("index", "extra YQ==\nindex", 1))
        assert carrying == Proof(3, path, NOTE, b"a")
        assert parse_proof(render_proof(carrying)) == carrying


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c2sp.org/tlog-proof@v1\n\n" + NOTE,
        "c2sp.org/tlog-proof@v2\nindex 3\n\n" + NOTE,
        "c2sp.org/tlog-proof@v1\nindex 03\n\n" + NOTE,
        "c2sp.org/tlog-proof@v1\nindex -3\n\n" + NOTE,
        "c2sp.org/tlog-proof@v1\nextra ?\nindex 3\n\n" + NOTE,
        "c2sp.org/tlog-proof@v1\nindex 3\nAAAA\n\n" + NOTE,
        "c2sp.org/tlog-proof@v1\nindex 3\n" + "A" * 43 + "=\n" * 65 + "\n" + NOTE,
        "c2sp.org/tlog-proof@v1\nindex 3",
    ],
)
def test_proofs_that_are_not_exactly_right_are_refused(text: str) -> None:
    with pytest.raises(EvidenceError):
        parse_proof(text)


@given(st.text(max_size=200))
@settings(deadline=None)
def test_noise_is_refused_and_nothing_falls_over(noise: str) -> None:
    for read in (read_checkpoint, parse_proof, Verifier.parse, Signer.parse):
        with pytest.raises(EvidenceError):
            read(noise)
