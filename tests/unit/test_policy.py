"""The policy file: defaults, documentation of every key, and errors that name the key."""

from __future__ import annotations

import msgspec
import pytest

from reassoc.core import policy as module
from reassoc.core.errors import PolicyError
from reassoc.core.policy import Policy, longest_first


def test_example_in_the_documentation_is_a_policy() -> None:
    example = (module.__doc__ or "").split("\n\n", 1)[1]
    policy = msgspec.toml.decode(example, type=Policy)
    assert policy.payers[0].trace_suffixes == ("########",)
    assert policy.may_match() == 0b1_1000_0111


def test_every_key_is_documented() -> None:
    for struct in (Policy, module.PayerRule):
        for name in struct.__struct_fields__:
            assert name in (struct.__doc__ or ""), name


def test_defaults() -> None:
    assert Policy() == msgspec.toml.decode("", type=Policy)
    assert Policy().may_match() == 0b1_0000_1111
    assert not Policy().may_match_unrooted()
    assert Policy().trace_window_days == 180


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("trace_window_days = -1", "trace_window_days"),
        ("trace_window_days = 9999", "trace_window_days"),
        ("review_tiers = ['T5']", "review_tiers[0]"),
        ("review_tiers = ['T1', 'T9']", "review_tiers[1]"),
        ("auto_tiers = ['T4']", "auto_tiers[0]"),
        ("auto_tiers = ['T8']\nreview_tiers = ['T8']", "auto_tiers"),
        ("close_tiers = ['T2', 'T0']", "close_tiers[1]"),
        ("close_tiers = ['T10']", "close_tiers[0]"),
        ("payee_window_banking_days = -1", "payee_window_banking_days"),
        ("bulk_window_banking_days = 61", "bulk_window_banking_days"),
        ("suggestion_window_banking_days = 61", "suggestion_window_banking_days"),
        ("bulk_items_max = 1", "bulk_items_max"),
        ("bulk_items_max = 31", "bulk_items_max"),
        ("bulk_work_max = 0", "bulk_work_max"),
        ("candidates_max = 21", "candidates_max"),
        ("return_window_days = -1", "return_window_days"),
        ("reversal_window_banking_days = 61", "reversal_window_banking_days"),
        ("posting_window_banking_days = 61", "posting_window_banking_days"),
        ("[[payers]]\nids = ['5']\nauto_tiers = ['T7']", "payers[0].auto_tiers[0]"),
        ("card_methods = ['ACH']", "card_methods[0]"),
        ("ignored_payer_ids = ['000']", "ignored_payer_ids[0]"),
        ("trace_prefixes = ['--']", "trace_prefixes[0]"),
        ("trace_prefixes = ['A', '0E']", "trace_prefixes[1]"),
        ("[[payers]]\nids = []", "payers[0].ids"),
        ("[[payers]]\nids = ['12', '-']", "payers[0].ids[1]"),
        ("[[payers]]\nids = ['1234567890']\n[[payers]]\nids = ['234567890']", "payers[1].ids[0]"),
        ("ignored_payer_ids = ['1234567890']\n[[payers]]\nids = ['234567890']", "payers[0].ids[0]"),
        ("[[payers]]\nids = ['5']\ntrace_suffixes = ['']", "payers[0].trace_suffixes[0]"),
    ],
)
def test_bad_values_are_refused_by_key(text: str, key: str) -> None:
    with pytest.raises(PolicyError) as caught:
        msgspec.toml.decode(text, type=Policy)
    assert str(caught.value).startswith(key + " ")


def test_unknown_keys_and_types_are_refused_by_key() -> None:
    with pytest.raises(msgspec.ValidationError, match="trace_window"):
        msgspec.toml.decode("trace_window = 1", type=Policy)
    with pytest.raises(msgspec.ValidationError, match=r"payers\[0\].ids"):
        msgspec.toml.decode("[[payers]]\nids = 5", type=Policy)


def test_which_tiers_may_match_by_themselves() -> None:
    opted = Policy(auto_tiers=("T6", "T8", "T9"), review_tiers=("T0", "T2"))
    assert opted.may_match() == 0b11_0100_1010
    assert opted.may_match_unrooted()
    assert Policy(review_tiers=("T8",)).may_match() == 0b1111
    assert Policy(auto_tiers=("T7",)).may_match() == 0b1_1000_1111


def test_before_the_close_some_tiers_wait() -> None:
    opted = Policy(auto_tiers=("T6", "T7", "T8"))
    assert opted.may_match(at_close=False) == 0b11
    assert not opted.may_match_unrooted(at_close=False)
    early = Policy(auto_tiers=("T6", "T8"), close_tiers=("T1",))
    assert early.may_match(at_close=False) == 0b1_0100_1101
    assert early.may_match_unrooted(at_close=False)


def test_affixes_are_tried_longest_first_whatever_their_order() -> None:
    assert longest_first(["e", "ef-t", "E", "AB"]) == [b"EFT", b"AB", b"E"]
