/* Stage 2, the claims: CLP, SVC and CAS with their balances, and the details that hang on any loop.
 *
 * One function a segment. A handler writes its row without checking for room: reserve_rows did so
 * for the whole block. The frequent ones are inlined into the one place that dispatches
 * (on_detail), the others are kept out of its way.
 */
#ifndef REASSOC_X12_CLAIMS_H
#define REASSOC_X12_CLAIMS_H

#include "_x12_state.h"

/* ---- values that leave a finding behind when they are none ---- */

ALWAYS_INLINE int64_t take_cents(x12_scan *scan, const segment_view *segment, uint32_t number,
                                 kind_code4 id, bool required, bool *unreadable) {
    element_view element = value_element(segment, number);
    int64_t cents;
    finding_code code = parse_cents(element, &cents);
    if (UNLIKELY(element.length == 0)) code = required ? X12_AMOUNT_EMPTY : FINDING_NONE;
    if (UNLIKELY(code != FINDING_NONE)) {
        uint32_t at = segment->delimiters[segment->separators];
        if (number <= segment->separators) at = segment->delimiters[number - 1] + 1;
        add_finding(scan, code, at, element.length, id, (uint8_t)number);
        if (unreadable != NULL) *unreadable = true;
    }
    return cents;
}

ALWAYS_INLINE int64_t take_quantity(x12_scan *scan, const segment_view *segment, uint32_t number,
                                    kind_code4 id) {
    element_view element = value_element(segment, number);
    int64_t value;
    finding_code code = parse_quantity_e4(element, &value);
    if (UNLIKELY(code != FINDING_NONE)) {
        add_finding(scan, code, segment->delimiters[number - 1] + 1, element.length, id,
                    (uint8_t)number);
    }
    return value;
}

ALWAYS_INLINE int32_t take_date(x12_scan *scan, const segment_view *segment, uint32_t number,
                                kind_code4 id) {
    element_view element = value_element(segment, number);
    if (element.length == 0) return DATE_NONE;
    uint64_t text = load_up_to_8(element.at, element.length);
    const size_t slot = text * UINT64_C(0x9E3779B97F4A7C15) >> (64 - DATE_SLOT_BITS);
    if (LIKELY(element.length == 8 && text == scan->dates_seen[slot].text))
        return scan->dates_seen[slot].date;
    int32_t date = parse_date(element);
    if (UNLIKELY(date == DATE_NONE)) {
        add_finding(scan, X12_DATE_BAD, segment->delimiters[number - 1] + 1, element.length, id,
                    (uint8_t)number);
    } else if (element.length == 8) {
        scan->dates_seen[slot].text = text;
        scan->dates_seen[slot].date = date;
    }
    return date;
}

ALWAYS_INLINE uint64_t take_code(x12_scan *scan, const segment_view *segment, uint32_t number,
                                 kind_code4 id, uint32_t size) {
    element_view element = value_element(segment, number);
    if (UNLIKELY(element.length > size)) {
        add_finding(scan, X12_CODE_TOO_LONG, segment->delimiters[number - 1] + 1, element.length,
                    id, (uint8_t)number);
        element.length = size;
    }
    return load_up_to_8(element.at, element.length);
}

/* A text of the row's own segment. What is too long for a near_ref (no guide allows it) is cut and
 * told. */
ALWAYS_INLINE near_ref near_of(x12_scan *scan, const segment_view *segment, uint32_t number,
                               kind_code4 id) {
    union {
        uint32_t word; /* so that it is stored at once */
        near_ref ref;
    } text = {.word = 0};
    if (number > segment->separators) return text.ref;
    const uint32_t start = segment->delimiters[number - 1] + 1, distance = start - segment->start;
    uint32_t length = segment->delimiters[number] - start;
    if (UNLIKELY((distance | length) > UINT16_MAX)) {
        add_finding(scan, X12_CODE_TOO_LONG, segment->start, distance + length, id,
                    (uint8_t)number);
        if (distance > UINT16_MAX) return text.ref;
        length = length > UINT16_MAX ? UINT16_MAX : length;
    }
    text.word = distance | length << 16;
    return text.ref;
}

#define CODE2(number, id) ((kind_code2)take_code(scan, segment, number, id, 2))
#define CODE4(number, id) ((kind_code4)take_code(scan, segment, number, id, 4))
#define CODE8(number, id) (take_code(scan, segment, number, id, 8))
#define TEXT(number) text_of(segment, number)
#define NEAR(number, id) near_of(scan, segment, number, id)

ALWAYS_INLINE void add_to_sum(x12_scan *scan, int64_t *sum, int64_t cents) {
    if (UNLIKELY(__builtin_add_overflow(*sum, cents, sum))) {
        *sum = 0;
        scan->now.tx_overflow = true;
    }
}

ALWAYS_INLINE void require(x12_scan *scan, const segment_view *segment, uint32_t number,
                           kind_code4 id) {
    if (UNLIKELY(raw_element(scan, segment, number).length == 0)) {
        add_finding(scan, X12_ELEMENT_MISSING, segment->start,
                    segment_end(scan, segment) - segment->start, id, (uint8_t)number);
    }
}

/* The first component of a composite: its length up to the component separator. */
ALWAYS_INLINE uint32_t component_length(const x12_scan *scan, element_view element) {
    const uint8_t component = scan->now.delimiters.component;
    uint32_t length = 0;
    while (length < element.length && element.at[length] != component) length++;
    return length;
}

/* Equal but for line wraps, which may cut either. */
static bool same_unwrapped(element_view left, element_view right) {
    if (left.length == right.length && memcmp(left.at, right.at, left.length) == 0) return true;
    const uint8_t *left_stop = left.at + left.length, *right_stop = right.at + right.length;
    for (;;) {
        while (left.at < left_stop && is_line_end(*left.at)) left.at++;
        while (right.at < right_stop && is_line_end(*right.at)) right.at++;
        if (left.at == left_stop || right.at == right_stop)
            return left.at == left_stop && right.at == right_stop;
        if (*left.at++ != *right.at++) return false;
    }
}

/* ---- loops ---- */

static inline void close_service(x12_scan *scan, uint32_t end) {
    scan_context *now = &scan->now;
    if (now->service_row < 0) return;
    services_table *services = &scan->tables.services;
    const size_t row = (size_t)now->service_row;
    services->end[row] = end;
    services->adjustment_stop[row] = (uint32_t)scan->tables.adjustments.rows;
    if (services->service_end_date[row] == DATE_NONE)
        services->service_end_date[row] = services->service_date[row];
    int64_t left = 0;
    bool overflow =
        __builtin_sub_overflow(services->charge_cents[row], now->line_adjustment_cents, &left);
    bool balanced = !overflow && left == services->paid_cents[row] && !now->line_unreadable;
    services->balanced[row] = balanced;
    if (UNLIKELY(!balanced)) {
        add_finding_of(scan, now->service_ordinal, X12_LINE_UNBALANCED, services->offset[row],
                       end - services->offset[row], packed_id("SVC"));
    }
    now->service_row = -1;
}

static inline void close_claim(x12_scan *scan, uint32_t end) {
    scan_context *now = &scan->now;
    close_service(scan, end);
    if (now->claim_row < 0) return;
    claims_table *claims = &scan->tables.claims;
    const size_t row = (size_t)now->claim_row;
    claims->end[row] = end;
    claims->service_stop[row] = (uint32_t)scan->tables.services.rows;
    claims->adjustment_stop[row] = (uint32_t)scan->tables.adjustments.rows;
    claims->adjustment_cents[row] = now->claim_adjustment_cents;
    int64_t left = 0;
    bool overflow =
        __builtin_sub_overflow(claims->charge_cents[row], now->claim_adjustment_cents, &left);
    bool paid_agrees = !overflow && left == claims->paid_cents[row] && !now->claim_unreadable;
    bool charge_agrees =
        !now->claim_has_lines || claims->charge_cents[row] == now->line_charge_cents;
    claims->balanced[row] = paid_agrees && charge_agrees;
    if (UNLIKELY(!paid_agrees)) {
        add_finding_of(scan, now->claim_ordinal, X12_CLAIM_UNBALANCED, claims->offset[row],
                       end - claims->offset[row], packed_id("CLP"));
    }
    if (UNLIKELY(!charge_agrees)) {
        add_finding_of(scan, now->claim_ordinal, X12_CLAIM_CHARGE_DIFFERS, claims->offset[row],
                       end - claims->offset[row], packed_id("CLP"));
    }
    now->claim_row = -1;
    now->level = LEVEL_TRANSACTION;
    now->owner = now->transaction_row;
}

ALWAYS_INLINE void on_clp(x12_scan *scan, const segment_view *segment) {
    const kind_code4 id = packed_id("CLP");
    scan_context *now = &scan->now;
    close_claim(scan, segment->start);
    claims_table *claims = &scan->tables.claims;
    const size_t row = claims->rows++;
    now->claim_row = (int32_t)row;
    now->claim_ordinal = now->segment_ordinal;
    now->level = LEVEL_CLAIM;
    now->owner = (int32_t)row;
    now->claim_unreadable = now->claim_has_lines = false;
    now->claim_adjustment_cents = now->line_charge_cents = 0;
    require(scan, segment, 1, id);
    require(scan, segment, 2, id);
    bool unreadable = false;
    claims->transaction[row] = now->transaction_row;
    claims->offset[row] = segment->start;
    claims->patient_control_number[row] = NEAR(1, id);
    claims->status[row] = CODE2(2, id);
    claims->charge_cents[row] = take_cents(scan, segment, 3, id, true, &unreadable);
    bool paid_unreadable = false;
    int64_t paid_cents = take_cents(scan, segment, 4, id, true, &paid_unreadable);
    claims->paid_cents[row] = paid_cents;
    claims->patient_responsibility_cents[row] = take_cents(scan, segment, 5, id, false, NULL);
    claims->filing_indicator[row] = CODE2(6, id);
    claims->payer_claim_number[row] = NEAR(7, id);
    claims->facility_type[row] = CODE2(8, id);
    claims->frequency[row] = CODE2(9, id);
    claims->drg[row] = 0;
    claims->drg_weight_e4[row] = claims->discharge_fraction_e4[row] = 0;
    if (segment->separators > 10) {
        claims->drg[row] = CODE4(11, id);
        claims->drg_weight_e4[row] = take_quantity(scan, segment, 12, id);
        claims->discharge_fraction_e4[row] = take_quantity(scan, segment, 13, id);
    }
    claims->service_start[row] = (uint32_t)scan->tables.services.rows;
    claims->adjustment_start[row] = (uint32_t)scan->tables.adjustments.rows;
    now->claim_unreadable = unreadable || paid_unreadable;
    now->tx_unreadable |= paid_unreadable;
    add_to_sum(scan, &now->claim_paid_cents, paid_cents);
}

/* Without an ISA the component separator is a guess, until the first SVC01 shows it behind two
 * letters. */
static __attribute__((noinline, cold)) void learn_component(x12_scan *scan,
                                                            element_view composite) {
    scan_context *now = &scan->now;
    now->component_guessed = false;
    if (composite.length < 3 || is_alphanumeric(composite.at[2]) || composite.at[2] == ' ') return;
    now->delimiters.component = composite.at[2];
    scan->tables.interchanges.component_separator[now->interchange_row] = composite.at[2];
}

/* An SVC01 that does not start with two letters and the component separator: no code in it is lost
 * silently. */
static __attribute__((noinline, cold)) void note_odd_procedure(x12_scan *scan,
                                                               const segment_view *segment,
                                                               size_t row, uint32_t qualifier) {
    const uint32_t length = value_element(segment, 1).length;
    if (qualifier <= 2) return;
    if (qualifier ==
        length) { /* one component only, too long for a qualifier: a code without one */
        scan->tables.services.procedure_qualifier[row] = 0;
        scan->tables.services.procedure[row] = TEXT(1);
        add_finding(scan, X12_ELEMENT_MISSING, segment->start,
                    segment_end(scan, segment) - segment->start, packed_id("SVC"), 1);
    } else {
        add_finding(scan, X12_CODE_TOO_LONG, segment->delimiters[0] + 1, qualifier,
                    packed_id("SVC"), 1);
    }
}

ALWAYS_INLINE void on_svc(x12_scan *scan, const segment_view *segment) {
    const kind_code4 id = packed_id("SVC");
    scan_context *now = &scan->now;
    close_service(scan, segment->start);
    if (UNLIKELY(now->claim_row < 0)) {
        add_finding(scan, X12_MISPLACED_SEGMENT, segment->start,
                    segment_end(scan, segment) - segment->start, id, 0);
    }
    services_table *services = &scan->tables.services;
    const size_t row = services->rows++;
    now->service_row = (int32_t)row;
    now->service_ordinal = now->segment_ordinal;
    now->level = LEVEL_SERVICE;
    now->owner = (int32_t)row;
    now->line_unreadable = now->line_dated = false;
    now->line_adjustment_cents = 0;
    now->claim_has_lines = true;
    services->claim[row] = now->claim_row;
    services->offset[row] = segment->start;
    element_view composite = value_element(segment, 1);
    if (UNLIKELY(now->component_guessed)) learn_component(scan, composite);
    uint32_t qualifier = component_length(scan, composite);
    services->procedure_qualifier[row] =
        (kind_code2)load_up_to_8(composite.at, qualifier < 2 ? qualifier : 2);
    element_view raw = raw_element(scan, segment, 1);
    uint32_t skipped = component_length(scan, raw);
    skipped += skipped < raw.length;
    services->procedure[row] =
        (text_ref){(uint32_t)(raw.at - scan->data) + skipped, raw.length - skipped};
    if (UNLIKELY(qualifier != 2)) note_odd_procedure(scan, segment, row, qualifier);
    bool unreadable = false;
    int64_t charge_cents = take_cents(scan, segment, 2, id, true, &unreadable);
    services->charge_cents[row] = charge_cents;
    services->paid_cents[row] = take_cents(scan, segment, 3, id, true, &unreadable);
    services->revenue_code[row] = CODE8(4, id);
    services->paid_units_e4[row] =
        raw_element(scan, segment, 5).length == 0 ? 10000 : take_quantity(scan, segment, 5, id);
    services->submitted_procedure[row] = NEAR(6, id);
    services->original_units_e4[row] = raw_element(scan, segment, 7).length == 0
                                           ? services->paid_units_e4[row]
                                           : take_quantity(scan, segment, 7, id);
    services->service_date[row] = services->service_end_date[row] = DATE_NONE;
    services->line_control_number[row] = (text_ref){0, 0};
    services->adjustment_start[row] = (uint32_t)scan->tables.adjustments.rows;
    now->line_unreadable = unreadable;
    now->claim_unreadable |= unreadable;
    add_to_sum(scan, &now->line_charge_cents, charge_cents);
}

static inline bool is_adjustment_group(kind_code2 code) {
    /* CR is 004010's; files that claim 005010 still send it, and it does no harm. */
    static const char groups[] = "COOAPIPRCR";
    for (int i = 0; i < 10; i += 2) {
        if (code ==
            ((uint16_t)(uint8_t)groups[i] | (uint16_t)((uint16_t)(uint8_t)groups[i + 1] << 8)))
            return true;
    }
    return false;
}

ALWAYS_INLINE void on_cas(x12_scan *scan, const segment_view *segment) {
    const kind_code4 id = packed_id("CAS");
    scan_context *now = &scan->now;
    adjustments_table *adjustments = &scan->tables.adjustments;
    if (UNLIKELY(now->claim_row < 0)) {
        add_finding(scan, X12_MISPLACED_SEGMENT, segment->start,
                    segment_end(scan, segment) - segment->start, id, 0);
    }
    const kind_code2 group = CODE2(1, id);
    if (UNLIKELY(!is_adjustment_group(group))) {
        add_finding(scan, X12_CAS_GROUP, segment->start,
                    segment_end(scan, segment) - segment->start, id, 1);
    }
    for (uint32_t number = 2; number <= segment->separators; number += 3) {
        bool has_reason = raw_element(scan, segment, number).length != 0;
        bool has_amount = raw_element(scan, segment, number + 1).length != 0;
        if (!has_reason && !has_amount && raw_element(scan, segment, number + 2).length == 0)
            continue;
        if (UNLIKELY(!has_reason)) require(scan, segment, number, id);
        const size_t row = adjustments->rows++;
        bool unreadable = false;
        int64_t cents = take_cents(scan, segment, number + 1, id, true, &unreadable);
        adjustments->claim[row] = now->claim_row;
        adjustments->service[row] = now->service_row;
        adjustments->group_code[row] = group;
        adjustments->reason_code[row] = CODE8(number, id);
        adjustments->amount_cents[row] = cents;
        adjustments->quantity_e4[row] = take_quantity(scan, segment, number + 2, id);
        now->claim_unreadable |= unreadable;
        add_to_sum(scan, &now->claim_adjustment_cents, cents);
        if (now->service_row >= 0) {
            now->line_unreadable |= unreadable;
            add_to_sum(scan, &now->line_adjustment_cents, cents);
        }
    }
}

/* ---- details that hang on whatever loop is open ---- */

#define OWN(table, row)                                                                            \
    (table)->level[row] = scan->now.level;                                                         \
    (table)->owner[row] = scan->now.owner

ALWAYS_INLINE void on_dtm(x12_scan *scan, const segment_view *segment) {
    const kind_code4 id = packed_id("DTM");
    dates_table *dates = &scan->tables.dates;
    const size_t row = dates->rows++;
    const kind_code4 qualifier = CODE4(1, id);
    const int32_t date = take_date(scan, segment, 2, id);
    OWN(dates, row);
    dates->qualifier[row] = qualifier;
    dates->date[row] = date;
    if (scan->now.level == LEVEL_SERVICE) {
        const size_t service = (size_t)scan->now.service_row;
        if (qualifier == packed_id("472")) {
            scan->tables.services.service_date[service] = date;
            scan->now.line_dated = true;
        } else if (qualifier == packed_id("150")) {
            if (!scan->now.line_dated) scan->tables.services.service_date[service] = date;
        } else if (qualifier == packed_id("151")) {
            scan->tables.services.service_end_date[service] = date;
        }
    } else if (scan->now.level <= LEVEL_PAYEE && qualifier == packed_id("405")) {
        scan->tables.transactions.production_date[scan->now.transaction_row] = date;
    }
}

ALWAYS_INLINE void on_ref(x12_scan *scan, const segment_view *segment) {
    references_table *references = &scan->tables.references;
    const size_t row = references->rows++;
    const kind_code4 qualifier = CODE4(1, packed_id("REF"));
    const text_ref value = TEXT(2);
    OWN(references, row);
    references->qualifier[row] = qualifier;
    references->value[row] = value;
    if (scan->now.level == LEVEL_SERVICE) {
        if (qualifier == packed_id("6R"))
            scan->tables.services.line_control_number[scan->now.service_row] = value;
    } else if (scan->now.level == LEVEL_PAYEE) {
        if (qualifier == packed_id("TJ"))
            scan->tables.transactions.payee_tin[scan->now.transaction_row] = value;
    } else if (scan->now.level <= LEVEL_PAYER && qualifier == packed_id("EV")) {
        scan->tables.transactions.receiver_id[scan->now.transaction_row] = value;
    }
}

ALWAYS_INLINE void on_amt(x12_scan *scan, const segment_view *segment) {
    amounts_table *amounts = &scan->tables.amounts;
    const size_t row = amounts->rows++;
    OWN(amounts, row);
    amounts->qualifier[row] = CODE4(1, packed_id("AMT"));
    amounts->amount_cents[row] = take_cents(scan, segment, 2, packed_id("AMT"), false, NULL);
}

static NOINLINE void on_qty(x12_scan *scan, const segment_view *segment) {
    quantities_table *quantities = &scan->tables.quantities;
    const size_t row = quantities->rows++;
    OWN(quantities, row);
    quantities->qualifier[row] = CODE4(1, packed_id("QTY"));
    quantities->quantity_e4[row] = take_quantity(scan, segment, 2, packed_id("QTY"));
}

static void add_remark(x12_scan *scan, const segment_view *segment, kind_code4 source,
                       kind_code4 qualifier, uint32_t number) {
    if (raw_element(scan, segment, number).length == 0) return;
    remarks_table *remarks = &scan->tables.remarks;
    const size_t row = remarks->rows++;
    OWN(remarks, row);
    remarks->source[row] = source;
    remarks->qualifier[row] = qualifier;
    remarks->remark_code[row] = CODE8(number, source);
}

ALWAYS_INLINE void on_lq(x12_scan *scan, const segment_view *segment) {
    add_remark(scan, segment, packed_id("LQ"), CODE4(1, packed_id("LQ")), 2);
}

/* One row for each element that holds something; `amounts` has a bit for each that the guide makes
 * an amount. */
static void add_summaries(x12_scan *scan, const segment_view *segment, kind_code4 id,
                          uint32_t amounts) {
    summaries_table *summaries = &scan->tables.summaries;
    for (uint32_t number = 1; number <= segment->separators && number <= UINT8_MAX; number++) {
        if (raw_element(scan, segment, number).length == 0) continue;
        const size_t row = summaries->rows++;
        bool is_amount = number < 32 && (amounts >> number & 1);
        OWN(summaries, row);
        summaries->segment[row] = id;
        summaries->element[row] = (uint8_t)number;
        summaries->value[row] = TEXT(number);
        summaries->amount_cents[row] =
            is_amount ? take_cents(scan, segment, number, id, false, NULL) : 0;
    }
}

static NOINLINE void on_mia(x12_scan *scan, const segment_view *segment) {
    /* MIA01 and 15 count days, MIA03 is a day count too; 05 and 20-23 are remark codes; the rest
     * are amounts. */
    const uint32_t amounts = 1u << 2 | 1u << 4 | 0x7FC0u | 0xF0000u | 1u << 24;
    add_summaries(scan, segment, packed_id("MIA"), amounts);
    add_remark(scan, segment, packed_id("MIA"), packed_id("HE"), 5);
    for (uint32_t number = 20; number <= 23; number++) {
        add_remark(scan, segment, packed_id("MIA"), packed_id("HE"), number);
    }
}

static NOINLINE void on_moa(x12_scan *scan, const segment_view *segment) {
    add_summaries(scan, segment, packed_id("MOA"),
                  1u << 2 | 1u << 8 | 1u << 9); /* MOA01 is a percentage */
    for (uint32_t number = 3; number <= 7; number++) {
        add_remark(scan, segment, packed_id("MOA"), packed_id("HE"), number);
    }
}

static size_t add_entity(x12_scan *scan, const segment_view *segment, kind_code4 entity) {
    entities_table *entities = &scan->tables.entities;
    const size_t row = entities->rows++;
    OWN(entities, row);
    entities->offset[row] = segment->start;
    entities->entity[row] = entity;
    return row;
}

ALWAYS_INLINE void on_nm1(x12_scan *scan, const segment_view *segment) {
    const kind_code4 id = packed_id("NM1");
    entities_table *entities = &scan->tables.entities;
    const size_t row = add_entity(scan, segment, CODE4(1, id));
    entities->kind[row] = CODE2(2, id);
    entities->name[row] = NEAR(3, id);
    entities->first_name[row] = NEAR(4, id);
    entities->middle_name[row] = NEAR(5, id);
    entities->suffix[row] = NEAR(7, id);
    entities->id_qualifier[row] = CODE2(8, id);
    entities->id[row] = NEAR(9, id);
}

#endif
