"""Profiles and lists: what is read, and what is refused."""

from dataclasses import fields

import pytest

from custody.policies import Gate, PolicySet
from custody.policies.settings_files import _LimitsFile, read_lists, read_profiles
from custody.policies.types import Limits

SMALL = '[p]\ndescription = "x"\nlayers = ["seccomp"]\n[p.caps]\n'


def test_limits_of_a_file_are_the_limits_that_there_are() -> None:
    assert list(_LimitsFile.model_fields) == [field.name for field in fields(Limits)]


def test_what_is_not_named_is_as_usual_but_never_above_its_cap() -> None:
    profile = read_profiles(SMALL + "memory_mib = 100\n[p.defaults]\nwall_seconds = 5\n")["p"]
    assert (profile.caps.memory_mib, profile.caps.processes) == (100, Limits().processes)
    assert (profile.defaults.memory_mib, profile.defaults.wall_seconds) == (100, 5)
    assert [profile.network, profile.shell, profile.demo, profile.live_output, profile.strict] == [False] * 5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[p",
        "[p]\n",
        '[p]\ndescription = "x"\nlayers = []\n[p.caps]\n',
        '[P]\ndescription = "x"\nlayers = ["seccomp"]\n[P.caps]\n',
        '[p]\ndescription = "x"\nlayers = ["Sec comp"]\n[p.caps]\n',
        '[p]\ndescription = "x"\nlayers = ["seccomp"]\n',
        SMALL + "memory = 1\n",
        SMALL + "memory_mib = 0\n",
        SMALL + 'memory_mib = "1"\n',
        SMALL + "memory_mib = true\n",
        SMALL + "memory_mib = 1.5\n",
        SMALL + "[p.defaults]\nmemory_mib = 100000\n",
        SMALL.replace("[p.caps]", "netwrok = true\n[p.caps]"),
        SMALL.replace("[p.caps]", 'network = "yes"\n[p.caps]'),
    ],
)
def test_profiles_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - three kinds of it, from three readers
        read_profiles(text)


@pytest.mark.parametrize(
    "text",
    [
        "[hosts]\na = [1]",
        '[hosts]\na = ["api.example.org"]',
        '[hosts]\na = ["*.example.org:443"]',
        '[hosts]\na = ["api.example.org:99999"]',
        '[data_sets.a]\nclassification = "internal"\npaths = ["/"]',
        '[data_sets.a]\nclassification = "internal"\npaths = ["/data/../etc"]',
        '[data_sets.a]\nclassification = "internal"\npaths = ["data"]',
        '[data_sets.a]\npaths = ["/data"]',
        "[networks]",
    ],
)
def test_lists_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - from two readers
        read_lists(text)


def test_package_names_are_compared_as_indexes_do() -> None:
    lists = read_lists('[packages]\nforbidden = ["Bad.Package_x"]')
    assert lists.package_lists("bad-package-x") == lists.package_lists("BAD_PACKAGE.X") == ("forbidden",)
    assert lists.package_lists("bad-package") == ()


def test_a_wrong_settings_file_is_named_with_its_place(shipped: PolicySet) -> None:
    files = dict(shipped.files)
    files["profiles.toml"] += "\n[extra]\nnetwork = 1\n"
    files["network.toml"] = ""
    found = [str(problem) for problem in Gate.lint(PolicySet(files)) if problem.blocking]
    assert any("profiles.toml: `extra.description`" in problem for problem in found)
    assert any("network.toml: is not a file that custody knows" in problem for problem in found)
