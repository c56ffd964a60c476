"""Cedar text is cut where Cedar would cut it, with the right lines."""

from hypothesis import given
from hypothesis import strategies as st

from custody.policies import PolicySet
from custody.policies.engine import parse
from custody.policies.source import split


def test_lines_are_those_where_policies_begin() -> None:
    text = '// a comment; with a semicolon\n\n@id("a")\npermit (principal, action, resource); forbid (principal,\naction, resource);\n'
    assert [(cut.line, cut.complete) for cut in split("f", text)] == [(3, True), (4, True)]


def test_semicolons_in_strings_and_comments_do_not_cut() -> None:
    text = 'permit (principal, action, resource) // here; too\nwhen { "a;\\"b;" == "c" };'
    assert [cut.text for cut in split("f", text)] == [text]


def test_slashes_in_strings_are_no_comment() -> None:
    text = 'permit (principal, action, resource) when { "https://x" == "y" };'
    assert [cut.text for cut in split("f", text)] == [text]


def test_a_policy_without_its_end_is_said_to_be_incomplete() -> None:
    cuts = list(split("f", 'permit (principal, action, resource);\npermit (principal, "open'))
    assert [(cut.line, cut.complete) for cut in cuts] == [(1, True), (2, False)]


def test_nothing_is_lost_of_the_shipped_rules() -> None:
    for name, text in PolicySet.shipped().texts(".cedar").items():
        cuts = list(split(name, text))
        assert len(cuts) == text.count('@id("')
        for cut in cuts:
            assert text.split("\n")[cut.line - 1].startswith("@id(")
            parse(cut.text)


@given(st.text(alphabet='";/\\\n ab', max_size=60))
def test_any_text_is_cut_without_loss(text: str) -> None:
    """Whatever is not white space or a comment at top level stands in exactly one cut."""
    cuts = list(split("f", text))
    position = 0
    for cut in cuts:
        position = text.index(cut.text, position) + len(cut.text)
    assert all(cut.complete for cut in cuts[:-1])
