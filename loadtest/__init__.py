"""Load for reassoc: feeds of synthetic remittances and payments, with the truth beside them.

Everything made here is invented: payers, payees, patients, routing numbers and identifiers belong
to nobody.

What goes wrong in real feeds is made case by case (`loadtest/defects`). The edge cases by number,
and the cases that show them (`reassoc generate --list-cases` has rates and what is expected):

     1  leading_zeros_lost                        2  spaces_hyphens
     3  payer_id_without_one                      4  aggregator_aliased, aggregator_unknown
     5  trn_unterminated, trn_extra_text          6  trace_cut_15, trace_cut_30, trace_cut_front
     7  no_addenda, trace_all_zero                8  twins_without_trace
     9  bulk_shared_trace, bulk_suffixed_trace, bulk_no_root, bulk_two_answers
    10  split_same_trace, split_own_traces
    11  amount_variance, variance_fee, variance_levy, variance_adjustment, variance_forward_balance,
        variance_missing_sibling
    12  zero_pay, zero_pay_offset, zero_pay_check
    13  check, check_listed, check_listed_unknown_drawer, check_reported, check_reported_unnamed,
        deposit_of_checks, deposit_differs
    14  virtual_card                             15  duplicate_remittance
    16  resend_changed                           17  trace_reused, trace_reused_later
    18  returned, return_first, returned_same_entry_trace, return_dishonored, return_contested,
        change_notice
    19  reversed, reversal_of_one                20  reissued
    21  every pair: either side may be read first
    22  effective_closed_day, effective_open_friday
    23  negative_total                           24  trn_without_mark, mark_without_trn
    25  prenote, zero_pay_ctx                    26  bulk_npi_shared_trace, bulk_npi_own_traces
    27  forward_balance, forward_balance_reversed
    28  ctx                                      29  bulk_split_by_payee
    30  same_trace_two_payers

Beside these: missing_payment, missing_remittance, duplicate_payment, sent_again, unrelated_entry,
payee_unknown, settlement_blank, invalid_unbalanced, invalid_segment_count, wire, report_alone,
report_noise, payer_id_cut, bank_report; and the look-alikes of the adversarial profile
(`defects/lookalikes.py`, `defects/echoes.py`).
"""
