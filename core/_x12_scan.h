/* The envelope around the transactions: interchanges, groups, sets, their counts; and the dispatch
 * of a segment. */
#ifndef REASSOC_X12_SCAN_H
#define REASSOC_X12_SCAN_H

#include "_x12_headers.h"

/* Indexed at a time, so that the index stays in the nearest caches (bench/test_bench_x12.py). */
enum { BLOCK_BYTES = 16 * 1024, SEGMENT_REMARKS_MAX = 5 };

/* clang-format off */
#define SEGMENT_IDS(X)                                                                             \
    X(ISA) X(GS) X(ST) X(SE) X(GE) X(IEA) X(TA1) X(BPR) X(TRN) X(CUR) X(REF) X(DTM) X(N1) X(N3)    \
    X(N4) X(PER) X(RDM) X(LX) X(TS3) X(TS2) X(CLP) X(CAS) X(NM1) X(MIA) X(MOA) X(AMT) X(QTY)       \
    X(SVC) X(LQ) X(PLB)
/* clang-format on */

#define SEGMENT_ENUM(id) SEGMENT_##id,
typedef enum { SEGMENT_UNKNOWN = 0, SEGMENT_IDS(SEGMENT_ENUM) } segment_id;

/* Segment ids hash to different slots with this multiplier; fill_segment_slots fails loudly should
 * that ever change. */
#define SEGMENT_HASH_MULTIPLIER UINT32_C(0xAAF38C2F)
enum { SEGMENT_SLOT_BITS = 6 };

static struct {
    uint32_t key;
    uint8_t id;
} segment_slots[1 << SEGMENT_SLOT_BITS];

ALWAYS_INLINE uint32_t segment_slot(uint32_t key) {
    return key * SEGMENT_HASH_MULTIPLIER >> (32 - SEGMENT_SLOT_BITS);
}

#define SEGMENT_FILL(name)                                                                         \
    {                                                                                              \
        uint32_t key = packed_id(#name);                                                           \
        if (segment_slots[segment_slot(key)].key != 0 &&                                           \
            segment_slots[segment_slot(key)].key != key)                                           \
            return -1;                                                                             \
        segment_slots[segment_slot(key)].key = key;                                                \
        segment_slots[segment_slot(key)].id = SEGMENT_##name;                                      \
    }
static int fill_segment_slots(void) {
    SEGMENT_IDS(SEGMENT_FILL)
    return 0;
}

ALWAYS_INLINE segment_id lookup_segment(uint32_t key) {
    uint32_t slot = segment_slot(key);
    return LIKELY(segment_slots[slot].key == key) ? (segment_id)segment_slots[slot].id
                                                  : SEGMENT_UNKNOWN;
}

/* ---- closing ---- */

static element_view trimmed(element_view element) {
    while (element.length > 0 && is_blank(element.at[element.length - 1])) element.length--;
    while (element.length > 0 && is_blank(element.at[0])) element.at++, element.length--;
    return element;
}

/* Count and control number of a trailer against what was seen. True where both are right. */
static bool check_trailer(x12_scan *scan, const segment_view *segment, uint32_t counted,
                          element_view control, finding_code count_differs,
                          finding_code control_differs, kind_code4 id) {
    bool right = true;
    int64_t declared = parse_count(trimmed(value_element(segment, 1)));
    if (declared != (int64_t)counted) {
        add_finding(scan, declared < 0 ? X12_COUNT_BAD : count_differs, segment->start,
                    segment_end(scan, segment) - segment->start, id, 1);
        right = false;
    }
    if (!same_unwrapped(trimmed(value_element(segment, 2)), trimmed(control))) {
        add_finding(scan, control_differs, segment->start,
                    segment_end(scan, segment) - segment->start, id, 2);
        right = false;
    }
    return right;
}

static void check_transaction(x12_scan *scan, uint32_t at) {
    scan_context *now = &scan->now;
    transactions_table *transactions = &scan->tables.transactions;
    const size_t row = (size_t)now->transaction_row;
    const uint32_t start = now->set_offset, length = at - start;
    if (!now->seen_bpr) add_finding_of(scan, 1, X12_BPR_MISSING, start, length, 0);
    if (!now->seen_trn) add_finding_of(scan, 1, X12_TRN_MISSING, start, length, 0);
    if (now->tx_overflow) add_finding_of(scan, 1, X12_SUM_OVERFLOW, start, length, 0);
    int64_t left = 0;
    bool overflow =
        __builtin_sub_overflow(now->claim_paid_cents, now->provider_adjustment_cents, &left);
    bool balanced = !overflow && !now->tx_overflow && !now->tx_unreadable && now->seen_bpr &&
                    left == transactions->paid_cents[row];
    transactions->balanced[row] = balanced;
    if (!balanced) add_finding_of(scan, 1, X12_TRANSACTION_UNBALANCED, start, length, 0);
    transactions->claim_paid_cents[row] = now->claim_paid_cents;
    transactions->provider_adjustment_cents[row] = now->provider_adjustment_cents;
}

/* `body_end` is where SE starts, `end` the byte behind it. */
static void close_835(x12_scan *scan, uint32_t body_end, uint32_t end) {
    scan_context *now = &scan->now;
    tables_835 *tables = &scan->tables;
    transactions_table *transactions = &tables->transactions;
    const size_t row = (size_t)now->transaction_row;
    close_claim(scan, body_end);
    check_transaction(scan, end);
    transactions->end[row] = end;
    transactions->segment_count[row] = now->segment_ordinal;
    transactions->valid[row] = !now->tx_failed;
    transactions->body_hash[row] =
        body_end > now->body_offset
            ? hash_bytes(scan->data + now->body_offset, body_end - now->body_offset)
            : 0;
    transactions->claim_stop[row] = (uint32_t)tables->claims.rows;
    transactions->service_stop[row] = (uint32_t)tables->services.rows;
    transactions->adjustment_stop[row] = (uint32_t)tables->adjustments.rows;
    transactions->provider_adjustment_stop[row] = (uint32_t)tables->provider_adjustments.rows;
}

static void close_set(x12_scan *scan, uint32_t body_end, uint32_t end) {
    scan_context *now = &scan->now;
    if (now->mode == SET_835) {
        close_835(scan, body_end, end);
    } else if (now->mode == SET_SKIPPED) {
        scan->tables.skipped.end[now->skipped_row] = end;
        scan->tables.skipped.segment_count[now->skipped_row] = now->segment_ordinal;
    }
    now->mode = SET_NONE;
    now->claim_row = now->service_row = now->transaction_row = -1;
}

/* The open set, group or interchange ends without its trailer, at `at`. */
static void cut_set(x12_scan *scan, uint32_t at) {
    if (scan->now.mode == SET_NONE) return;
    add_finding(scan, X12_SE_MISSING, at, 0, packed_id("SE"), 0);
    close_set(scan, at, at);
}

static void cut_group(x12_scan *scan, uint32_t at) {
    scan_context *now = &scan->now;
    cut_set(scan, at);
    if (!scan->gs.open) return;
    if (scan->gs.enveloped) add_finding(scan, X12_GE_MISSING, at, 0, packed_id("GE"), 0);
    scan->tables.groups.closed[now->group_row] = true;
    scan->tables.groups.transaction_count[now->group_row] = now->group_sets;
    scan->gs.open = false;
    now->group_row = -1;
}

static void note_interchange_end(x12_scan *scan, uint32_t end) {
    interchanges_table *interchanges = &scan->tables.interchanges;
    const size_t row = (size_t)scan->now.interchange_row;
    interchanges->closed[row] = true;
    interchanges->file_end[row] = scan->window_offset + end;
    interchanges->group_count[row] = scan->now.interchange_groups;
    interchanges->transaction_count[row] = scan->now.interchange_sets;
    scan->isa.open = false;
    scan->now.interchange_row = -1;
}

static void cut_interchange(x12_scan *scan, uint32_t at) {
    cut_group(scan, at);
    if (!scan->isa.open) return;
    if (scan->isa.enveloped) add_finding(scan, X12_IEA_MISSING, at, 0, packed_id("IEA"), 0);
    note_interchange_end(scan, at);
}

/* ---- opening ---- */

static void open_interchange(x12_scan *scan, size_t start, size_t end, bool enveloped) {
    scan_context *now = &scan->now;
    keep_header(scan, &scan->isa, start, end, enveloped, now->interchange_count++);
    now->interchange_groups = now->interchange_sets = 0;
    now->bare_noted = false;
    scan->gs.open = false;
    now->group_row = -1;
    add_interchange_row(scan);
    if (!enveloped) add_finding(scan, X12_NO_ISA, start, 0, 0, 0);
}

static void open_group(x12_scan *scan, size_t start, size_t end, bool enveloped) {
    scan_context *now = &scan->now;
    if (!scan->isa.open) open_interchange(scan, start, start, false);
    keep_header(scan, &scan->gs, start, end, enveloped, now->group_count++);
    now->group_sets = 0;
    now->interchange_groups += enveloped;
    now->previous_control = 0;
    add_group_row(scan);
}

/* Fetch the lines that the next rows go to, as many as the block before filled. A scan writes to
 * some two hundred places at once, which is more than a processor follows by itself. To the second
 * cache level: the first is full of the block (bench/test_bench_x12.py: a tenth of the time of a
 * large file). */
static void fetch_rows(x12_scan *scan) {
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        table_head *head = table_at(&scan->tables, i);
        const size_t rows = head->rows - scan->rows_at_block[i];
        scan->rows_at_block[i] = head->rows;
        if (rows == 0 || rows > head->capacity - head->rows) continue;
        for (size_t column = 0; column < table_directory[i].spec_count; column++) {
            const column_spec *spec = &table_directory[i].specs[column];
            const char *at = (const char *)*column_slot(head, spec) + head->rows * spec->item_size;
            const char *stop = at + rows * spec->item_size;
            for (; at < stop; at += COLUMN_ALIGNMENT) __builtin_prefetch(at, 1, 2);
        }
    }
}

/* Rows of a table that so many segments, and delimiters in them, can become at most: one for each
 * segment, but a CAS has one for three elements, a PLB for two, a TS3, TS2, MIA or MOA for each of
 * its first 255, and an MIA or MOA up to five remark codes. */
static size_t rows_needed(const x12_scan *scan, const void *table, size_t segments,
                          size_t delimiters) {
    const tables_835 *all = &scan->tables;
    if (table == &all->adjustments) return delimiters / 3;
    if (table == &all->provider_adjustments) return delimiters / 2;
    size_t most = segments;
    if (table == &all->remarks) most *= SEGMENT_REMARKS_MAX;
    if (table == &all->summaries) most *= UINT8_MAX;
    return delimiters < most ? delimiters : most;
}

/* Room for the rows that segments can become at most; sized ahead from what the window has shown so
 * far, or the ranges before this one and `taken` bytes of it. */
static int reserve_rows(x12_scan *scan, size_t segments, size_t delimiters, size_t taken) {
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        table_head *head = table_at(&scan->tables, i);
        const size_t needed = rows_needed(scan, head, segments, delimiters);
        size_t wanted = head->rows + needed + 4;
        if (wanted <= head->capacity) continue;
        /* Not from less than half a block: a small range may be of nothing but findings. */
        const size_t seen = scan->bytes_before + taken;
        if (seen >= BLOCK_BYTES / 2) {
            double margin = seen < 16 * (size_t)BLOCK_BYTES ? 1.2 : 1.03;
            double expected = (double)head->rows / (double)seen * (double)scan->bytes_all * margin;
            if (expected > (double)wanted) wanted = (size_t)expected + needed;
        }
        if (table_reserve(head, table_directory[i].specs, table_directory[i].spec_count, wanted) !=
            0)
            return -1;
    }
    return 0;
}

static void open_835(x12_scan *scan, const segment_view *segment) {
    scan_context *now = &scan->now;
    tables_835 *tables = &scan->tables;
    transactions_table *table = &tables->transactions;
    const size_t row = table->rows++;
    TRANSACTION_COLUMNS(ZERO_COLUMN)
    now->mode = SET_835;
    now->transaction_row = (int32_t)row;
    now->level = LEVEL_TRANSACTION;
    now->owner = (int32_t)row;
    now->header_row = now->claim_row = now->service_row = -1;
    now->body_offset = segment_end(scan, segment);
    now->seen_bpr = now->seen_trn = now->seen_payer = now->seen_payee = false;
    now->tx_unreadable = now->tx_failed = now->tx_overflow = false;
    now->claim_paid_cents = now->provider_adjustment_cents = 0;
    table->offset[row] = segment->start;
    table->ordinal[row] = now->transaction_count++;
    table->interchange[row] = now->interchange_row;
    table->group[row] = now->group_row;
    table->range[row] = now->range;
    table->control_number[row] = TEXT(2);
    table->implementation[row] = TEXT(3);
    table->effective_date[row] = table->production_date[row] = DATE_NONE;
    table->claim_start[row] = (uint32_t)tables->claims.rows;
    table->service_start[row] = (uint32_t)tables->services.rows;
    table->adjustment_start[row] = (uint32_t)tables->adjustments.rows;
    table->provider_adjustment_start[row] = (uint32_t)tables->provider_adjustments.rows;
}

static void open_skipped(x12_scan *scan, const segment_view *segment, kind_code4 set_id) {
    scan_context *now = &scan->now;
    skipped_table *table = &scan->tables.skipped;
    const size_t row = table->rows++;
    SKIPPED_COLUMNS(ZERO_COLUMN)
    now->mode = SET_SKIPPED;
    now->skipped_row = (int32_t)row;
    now->expects_trace = set_id == packed_id("820");
    table->offset[row] = segment->start;
    table->set_id[row] = set_id;
    table->interchange[row] = now->interchange_row;
    table->group[row] = now->group_row;
    table->range[row] = now->range;
}

/* Of a control number without its line wraps; 0 for an empty one. */
static uint64_t hash_control(element_view control) {
    uint64_t hash = 0;
    for (uint32_t i = 0; i < control.length; i++) {
        if (!is_line_end(control.at[i]))
            hash = fold_multiply(hash ^ control.at[i], UINT64_C(0x9E3779B97F4A7C15)) | 1;
    }
    return hash;
}

static void on_st(x12_scan *scan, const segment_view *segment) {
    scan_context *now = &scan->now;
    cut_set(scan, segment->start);
    if (!scan->gs.open) {
        bool inside = scan->isa.open && scan->isa.enveloped;
        open_group(scan, segment->start, segment->start, false);
        if (inside && !now->bare_noted) {
            add_finding(scan, X12_NO_GS, segment->start, 0, packed_id("ST"), 0);
            now->bare_noted = true;
        }
    }
    scan->at_set = *now; /* a window that ends inside this set is taken back to here */
    for (size_t i = 0; i < TABLE_COUNT; i++)
        scan->rows_at_set[i] = ((table_head *)table_at(&scan->tables, i))->rows;
    now->segment_ordinal = 1;
    now->set_offset = segment->start;
    now->control = trimmed(raw_element(scan, segment, 2));
    now->interchange_sets++;
    now->group_sets++;
    element_view set = trimmed(value_element(segment, 1));
    kind_code4 set_id = (kind_code4)load_up_to_8(set.at, set.length < 4 ? set.length : 4);
    if (set_id == packed_id("835")) open_835(scan, segment);
    else
        open_skipped(scan, segment, set_id);
    const uint64_t control = hash_control(now->control);
    if (control != 0 && control == now->previous_control) {
        add_finding(scan, X12_ST_DUPLICATE, segment->start,
                    segment_end(scan, segment) - segment->start, packed_id("ST"), 2);
    }
    now->previous_control = control;
}

static void trailer_unexpected(x12_scan *scan, const segment_view *segment, kind_code4 id) {
    add_finding(scan, X12_TRAILER_UNEXPECTED, segment->start,
                segment_end(scan, segment) - segment->start, id, 0);
}

static void on_se(x12_scan *scan, const segment_view *segment) {
    scan_context *now = &scan->now;
    if (now->mode == SET_NONE) {
        trailer_unexpected(scan, segment, packed_id("SE"));
        return;
    }
    if (now->mode != SET_DISCARDED) {
        check_trailer(scan, segment, now->segment_ordinal, now->control, X12_SE_COUNT,
                      X12_SE_CONTROL_NUMBER, packed_id("SE"));
    }
    close_set(scan, segment->start, segment_end(scan, segment));
}

static void on_gs(x12_scan *scan, const segment_view *segment) {
    cut_group(scan, segment->start);
    open_group(scan, segment->start, segment_end(scan, segment), true);
}

static void on_ge(x12_scan *scan, const segment_view *segment) {
    scan_context *now = &scan->now;
    cut_set(scan, segment->start);
    if (!scan->gs.open || !scan->gs.enveloped) {
        if (scan->gs.open) cut_group(scan, segment->start);
        trailer_unexpected(scan, segment, packed_id("GE"));
        return;
    }
    element_view control =
        header_element(&scan->gs, now->delimiters.separator, now->delimiters.terminator, 6);
    scan->tables.groups.valid[now->group_row] =
        check_trailer(scan, segment, now->group_sets, control, X12_GE_COUNT, X12_GE_CONTROL_NUMBER,
                      packed_id("GE"));
    scan->tables.groups.closed[now->group_row] = true;
    scan->tables.groups.transaction_count[now->group_row] = now->group_sets;
    scan->gs.open = false;
    now->group_row = -1;
}

static void on_iea(x12_scan *scan, const segment_view *segment) {
    scan_context *now = &scan->now;
    cut_group(scan, segment->start);
    if (!scan->isa.open || !scan->isa.enveloped) {
        if (scan->isa.open) note_interchange_end(scan, segment->start);
        trailer_unexpected(scan, segment, packed_id("IEA"));
        return;
    }
    element_view control =
        header_element(&scan->isa, now->delimiters.separator, now->delimiters.terminator, 13);
    scan->tables.interchanges.valid[now->interchange_row] =
        check_trailer(scan, segment, now->interchange_groups, control, X12_IEA_COUNT,
                      X12_IEA_CONTROL_NUMBER, packed_id("IEA"));
    note_interchange_end(scan, segment_end(scan, segment));
}

/* ---- one segment ---- */

static void on_skipped_segment(x12_scan *scan, const segment_view *segment, segment_id id) {
    scan_context *now = &scan->now;
    if (id == SEGMENT_TRN && now->mode == SET_SKIPPED && now->expects_trace) {
        scan->tables.skipped.trace[now->skipped_row] = TEXT(2);
        scan->tables.skipped.payer_id[now->skipped_row] = TEXT(3);
        now->expects_trace = false;
    }
}

static void on_unknown(x12_scan *scan, const segment_view *segment) {
    add_finding(scan, X12_UNKNOWN_SEGMENT, segment->start,
                segment_end(scan, segment) - segment->start, 0, 0);
}

ALWAYS_INLINE void on_detail(x12_scan *scan, const segment_view *segment) {
    /* Compares, most frequent first: predicted better than the one jump of a table
     * (bench/test_bench_x12.py). */
    const uint32_t id = segment->id;
    if (id == SEGMENT_DTM) return on_dtm(scan, segment);
    if (id == SEGMENT_CAS) return on_cas(scan, segment);
    if (id == SEGMENT_REF) return on_ref(scan, segment);
    if (id == SEGMENT_SVC) return on_svc(scan, segment);
    if (id == SEGMENT_NM1) return on_nm1(scan, segment);
    if (id == SEGMENT_AMT) return on_amt(scan, segment);
    if (id == SEGMENT_CLP) return on_clp(scan, segment);
    if (id == SEGMENT_LQ) return on_lq(scan, segment);
    switch (id) {
        case SEGMENT_BPR: on_bpr(scan, segment); break;
        case SEGMENT_TRN: on_trn(scan, segment); break;
        case SEGMENT_CUR: on_cur(scan, segment); break;
        case SEGMENT_N1: on_n1(scan, segment); break;
        case SEGMENT_N3: on_n3(scan, segment); break;
        case SEGMENT_N4: on_n4(scan, segment); break;
        case SEGMENT_PER: on_per(scan, segment); break;
        case SEGMENT_RDM: on_rdm(scan, segment); break;
        case SEGMENT_LX: on_lx(scan, segment); break;
        case SEGMENT_TS3: on_ts3(scan, segment); break;
        case SEGMENT_TS2: on_ts2(scan, segment); break;
        case SEGMENT_MIA: on_mia(scan, segment); break;
        case SEGMENT_MOA: on_moa(scan, segment); break;
        case SEGMENT_QTY: on_qty(scan, segment); break;
        case SEGMENT_PLB: on_plb(scan, segment); break;
        default: on_unknown(scan, segment); break;
    }
}

/* The same for segments that come by the side door: one copy of the dispatch is enough to be
 * inlined. */
static __attribute__((noinline)) void on_known_detail(x12_scan *scan, const segment_view *segment) {
    on_detail(scan, segment);
}

static void note_junk(x12_scan *scan, const segment_view *segment) {
    if (scan->now.junk_noted) return;
    scan->now.junk_noted = true;
    add_finding(scan, X12_JUNK, segment->start, segment_end(scan, segment) - segment->start, 0, 0);
}

/* Everything but ISA, which may change the delimiters and so is the block loop's business. */
static void on_segment(x12_scan *scan, const segment_view *segment) {
    const segment_id id = (segment_id)segment->id;
    scan_context *now = &scan->now;
    /* What opens or closes something larger cuts the set: it is none of its segments. */
    const bool inside = id == SEGMENT_UNKNOWN || id == SEGMENT_SE || id >= SEGMENT_TA1;
    now->segment_ordinal += inside;
    if (id > SEGMENT_TA1 && now->mode == SET_835) {
        on_known_detail(scan, segment);
        return;
    }
    if (id != SEGMENT_UNKNOWN && id <= SEGMENT_TA1) now->junk_noted = false;
    switch (id) {
        case SEGMENT_ST: on_st(scan, segment); break;
        case SEGMENT_SE: on_se(scan, segment); break;
        case SEGMENT_GS: on_gs(scan, segment); break;
        case SEGMENT_GE: on_ge(scan, segment); break;
        case SEGMENT_IEA: on_iea(scan, segment); break;
        case SEGMENT_TA1: break;
        default:
            if (now->mode == SET_835) on_unknown(scan, segment);
            else if (now->mode == SET_NONE)
                note_junk(scan, segment);
            else
                on_skipped_segment(scan, segment, id);
    }
}

#endif
