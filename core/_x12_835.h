/* Stage 2, the rest of an 835: its header, payer and payee, LX loops, provider adjustments. */
#ifndef REASSOC_X12_835_H
#define REASSOC_X12_835_H

#include "_x12_claims.h"

/* ---- header of the transaction ---- */

static NOINLINE void on_bpr(x12_scan *scan, const segment_view *segment) {
    const kind_code4 id = packed_id("BPR");
    scan_context *now = &scan->now;
    const uint32_t length = segment_end(scan, segment) - segment->start;
    if (now->claim_row >= 0)
        add_finding(scan, X12_MISPLACED_SEGMENT, segment->start, length, id, 0);
    if (now->seen_bpr) {
        add_finding(scan, X12_BPR_DUPLICATE, segment->start, length, id, 0);
        return;
    }
    now->seen_bpr = true;
    transactions_table *transactions = &scan->tables.transactions;
    const size_t row = (size_t)now->transaction_row;
    require(scan, segment, 1, id);
    require(scan, segment, 4, id);
    int64_t paid_cents = take_cents(scan, segment, 2, id, true, &now->tx_unreadable);
    transactions->handling[row] = CODE2(1, id);
    transactions->paid_cents[row] = paid_cents;
    transactions->credit_debit[row] = CODE2(3, id);
    transactions->payment_method[row] = CODE4(4, id);
    transactions->payment_format[row] = CODE4(5, id);
    transactions->payer_bank_qualifier[row] = CODE2(6, id);
    transactions->payer_bank[row] = TEXT(7);
    transactions->payer_account_qualifier[row] = CODE2(8, id);
    transactions->payer_account[row] = TEXT(9);
    transactions->originator[row] = TEXT(10);
    transactions->originator_supplement[row] = TEXT(11);
    transactions->payee_bank_qualifier[row] = CODE2(12, id);
    transactions->payee_bank[row] = TEXT(13);
    transactions->payee_account_qualifier[row] = CODE2(14, id);
    transactions->payee_account[row] = TEXT(15);
    transactions->effective_date[row] = take_date(scan, segment, 16, id);
    if (paid_cents < 0) add_finding(scan, X12_BPR_NEGATIVE, segment->start, length, id, 2);
    if (transactions->credit_debit[row] != (kind_code2)packed_id("C")) {
        add_finding(scan, X12_BPR_DEBIT, segment->start, length, id, 3);
    }
    const bool notice = transactions->handling[row] == (kind_code2)packed_id("H");
    const bool no_method = transactions->payment_method[row] == packed_id("NON");
    if (notice != no_method || ((notice || no_method) && paid_cents != 0)) {
        add_finding(scan, X12_NON_PAYMENT_MISMATCH, segment->start, length, id, 0);
    }
}

static NOINLINE void on_trn(x12_scan *scan, const segment_view *segment) {
    const kind_code4 id = packed_id("TRN");
    scan_context *now = &scan->now;
    const uint32_t length = segment_end(scan, segment) - segment->start;
    if (now->claim_row >= 0) {
        add_finding(scan, X12_MISPLACED_SEGMENT, segment->start, length, id, 0);
        return;
    }
    if (now->seen_trn) {
        add_finding(scan, X12_TRN_DUPLICATE, segment->start, length, id, 0);
        return;
    }
    now->seen_trn = true;
    require(scan, segment, 2, id);
    require(scan, segment, 3, id);
    transactions_table *transactions = &scan->tables.transactions;
    const size_t row = (size_t)now->transaction_row;
    transactions->trace[row] = TEXT(2);
    transactions->payer_id[row] = TEXT(3);
    transactions->trace_supplement[row] = TEXT(4);
    const text_ref originator_text = transactions->originator[row];
    const element_view payer = raw_element(scan, segment, 3);
    const element_view originator = {scan->data + originator_text.offset, originator_text.length};
    const element_view nothing = {scan->data, 0};
    if (!same_unwrapped(payer, originator) && !same_unwrapped(payer, nothing) &&
        !same_unwrapped(originator, nothing)) {
        add_finding(scan, X12_BPR_PAYER_DIFFERS, segment->start, length, id, 3);
    }
}

static NOINLINE void on_cur(x12_scan *scan, const segment_view *segment) {
    const kind_code4 id = packed_id("CUR");
    const kind_code4 currency = CODE4(2, id);
    scan->tables.transactions.currency[scan->now.transaction_row] = currency;
    if (currency != packed_id("USD") && currency != 0) {
        add_finding(scan, X12_CURRENCY, segment->start, segment_end(scan, segment) - segment->start,
                    id, 2);
    }
}

/* ---- payer and payee ---- */

static NOINLINE void on_n1(x12_scan *scan, const segment_view *segment) {
    const kind_code4 id = packed_id("N1");
    scan_context *now = &scan->now;
    transactions_table *transactions = &scan->tables.transactions;
    const size_t transaction = (size_t)now->transaction_row;
    const kind_code4 entity = CODE4(1, id);
    const kind_code2 qualifier = CODE2(3, id);
    if (entity == packed_id("PR") && now->claim_row < 0) {
        now->level = LEVEL_PAYER;
        now->owner = now->transaction_row;
        if (!now->seen_payer) {
            now->seen_payer = true;
            transactions->payer_name[transaction] = TEXT(2);
            transactions->payer_entity_qualifier[transaction] = qualifier;
            transactions->payer_entity_id[transaction] = TEXT(4);
        }
    } else if (entity == packed_id("PE") && now->claim_row < 0) {
        now->level = LEVEL_PAYEE;
        now->owner = now->transaction_row;
        if (!now->seen_payee) {
            now->seen_payee = true;
            transactions->payee_name[transaction] = TEXT(2);
            transactions->payee_entity_qualifier[transaction] = qualifier;
            transactions->payee_entity_id[transaction] = TEXT(4);
            if (qualifier == (kind_code2)packed_id("FI"))
                transactions->payee_tin[transaction] = TEXT(4);
        }
    }
    entities_table *entities = &scan->tables.entities;
    const size_t row = add_entity(scan, segment, entity);
    const near_ref none = {0, 0};
    entities->kind[row] = 0;
    entities->name[row] = NEAR(2, id);
    entities->first_name[row] = entities->middle_name[row] = entities->suffix[row] = none;
    entities->id_qualifier[row] = qualifier;
    entities->id[row] = NEAR(4, id);
}

static NOINLINE void on_n3(x12_scan *scan, const segment_view *segment) {
    addresses_table *addresses = &scan->tables.addresses;
    const size_t row = addresses->rows++;
    const text_ref none = {0, 0};
    OWN(addresses, row);
    addresses->line_1[row] = TEXT(1);
    addresses->line_2[row] = TEXT(2);
    addresses->city[row] = addresses->postal_code[row] = none;
    addresses->state[row] = 0;
    addresses->country[row] = 0;
}

/* N4 completes the N3 before it; without one it makes a row of its own. */
static NOINLINE void on_n4(x12_scan *scan, const segment_view *segment) {
    addresses_table *addresses = &scan->tables.addresses;
    size_t row = addresses->rows;
    const bool completes = row > 0 && addresses->level[row - 1] == scan->now.level &&
                           addresses->owner[row - 1] == scan->now.owner &&
                           addresses->city[row - 1].length == 0;
    if (completes) {
        row--;
    } else {
        addresses->rows++;
        OWN(addresses, row);
        addresses->line_1[row] = addresses->line_2[row] = (text_ref){0, 0};
    }
    addresses->city[row] = TEXT(1);
    addresses->state[row] = CODE2(2, packed_id("N4"));
    addresses->postal_code[row] = TEXT(3);
    addresses->country[row] = CODE4(4, packed_id("N4"));
}

static NOINLINE void on_per(x12_scan *scan, const segment_view *segment) {
    const kind_code4 id = packed_id("PER");
    contacts_table *contacts = &scan->tables.contacts;
    const size_t row = contacts->rows++;
    OWN(contacts, row);
    contacts->function[row] = CODE2(1, id);
    contacts->name[row] = TEXT(2);
    contacts->qualifier_1[row] = CODE2(3, id);
    contacts->number_1[row] = TEXT(4);
    contacts->qualifier_2[row] = CODE2(5, id);
    contacts->number_2[row] = TEXT(6);
    contacts->qualifier_3[row] = CODE2(7, id);
    contacts->number_3[row] = TEXT(8);
}

static NOINLINE void on_rdm(x12_scan *scan, const segment_view *segment) {
    deliveries_table *deliveries = &scan->tables.deliveries;
    const size_t row = deliveries->rows++;
    deliveries->transaction[row] = scan->now.transaction_row;
    deliveries->method[row] = CODE2(1, packed_id("RDM"));
    deliveries->name[row] = TEXT(2);
    deliveries->number[row] = TEXT(3);
}

static NOINLINE void on_lx(x12_scan *scan, const segment_view *segment) {
    scan_context *now = &scan->now;
    close_claim(scan, segment->start);
    headers_table *headers = &scan->tables.headers;
    const size_t row = headers->rows++;
    headers->transaction[row] = now->transaction_row;
    headers->offset[row] = segment->start;
    headers->number[row] = TEXT(1);
    headers->claim_start[row] = (uint32_t)scan->tables.claims.rows;
    now->level = LEVEL_HEADER;
    now->owner = now->header_row = (int32_t)row;
}

/* ---- totals of a loop, and what the provider owes or is owed ---- */

static NOINLINE void on_ts3(x12_scan *scan, const segment_view *segment) {
    add_summaries(scan, segment, packed_id("TS3"),
                  0x7FFFE0u | 1u << 24); /* 05-22 and 24; 23 is a count */
}

static NOINLINE void on_ts2(x12_scan *scan, const segment_view *segment) {
    add_summaries(scan, segment, packed_id("TS2"),
                  0xE837Eu); /* 01-06, 08, 09, 15, 17-19; else counts */
}

static NOINLINE void on_plb(x12_scan *scan, const segment_view *segment) {
    const kind_code4 id = packed_id("PLB");
    scan_context *now = &scan->now;
    close_claim(scan, segment->start);
    now->level = LEVEL_TRANSACTION;
    now->owner = now->transaction_row;
    require(scan, segment, 1, id);
    provider_adjustments_table *table = &scan->tables.provider_adjustments;
    const int32_t period_end = take_date(scan, segment, 2, id);
    for (uint32_t number = 3; number <= segment->separators; number += 2) {
        element_view composite = raw_element(scan, segment, number);
        if (composite.length == 0 && raw_element(scan, segment, number + 1).length == 0) continue;
        if (UNLIKELY(composite.length == 0)) require(scan, segment, number, id);
        const size_t row = table->rows++;
        uint32_t code_length = component_length(scan, composite);
        uint32_t skipped = code_length + (code_length < composite.length);
        element_view code = value_element(segment, number);
        code.length = component_length(scan, code);
        bool unreadable = false;
        int64_t cents = take_cents(scan, segment, number + 1, id, true, &unreadable);
        table->transaction[row] = now->transaction_row;
        table->offset[row] = segment->start;
        table->provider_id[row] = TEXT(1);
        table->fiscal_period_end[row] = period_end;
        if (UNLIKELY(code.length > 2)) {
            add_finding(scan, X12_CODE_TOO_LONG, (size_t)(composite.at - scan->data), code_length,
                        id, (uint8_t)number);
        }
        table->reason_code[row] =
            (kind_code2)load_up_to_8(code.at, code.length < 2 ? code.length : 2);
        table->reference[row] =
            (text_ref){(uint32_t)(composite.at - scan->data) + skipped, composite.length - skipped};
        table->amount_cents[row] = cents;
        now->tx_unreadable |= unreadable;
        add_to_sum(scan, &now->provider_adjustment_cents, cents);
    }
}

#endif
