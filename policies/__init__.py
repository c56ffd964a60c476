"""MAY IT: every request is judged by Cedar policies, with reasons, exposure, obligations and approvals.

This room answers; it never runs a program, never reads or writes the ledger, never takes a fact from a caller, and never allows because
something could not be decided. Only rules decide: nothing in here compares a finding with a threshold.

`PolicySet` is what is in force (`PolicySet.shipped()` is the one that comes with custody), `Gate` decides by it and lints it, `run_rule_tests`
plays the tests that stand beside its rules, `Directory` knows the principals, `read_code` takes hints from a program's text, and
`approval_state` folds what people answered.
"""

from .approvals import approval_state
from .code_facts import read_code
from .directory import Directory
from .gate import Gate
from .policy_set import PolicySet
from .rule_tests import run_rule_tests

__all__ = ["Directory", "Gate", "PolicySet", "approval_state", "read_code", "run_rule_tests"]
