/* The walk over a window: blocks are indexed, their segments taken, headers read anew where an ISA
 * starts. */
#ifndef REASSOC_X12_WINDOW_H
#define REASSOC_X12_WINDOW_H

#include "_x12_scan.h"

enum {
    PREFETCH_BYTES = 20000, /* a little more than a block ahead */
    TRAILER_ELEMENT_MAX =
        20 /* a longer control number may hide the ISA behind a trailer without terminator */
};

typedef enum { WALK_ON, WALK_RESYNC, WALK_STOP } walk_status;

/* By the length of a segment id; 0 for the length 0, and for 4 and more, which no id has. */
static const uint32_t ID_MASKS[4] = {0, 0xFF, 0xFFFF, 0xFFFFFF};

static const uint8_t BYTE_ORDER_MARK[3] = {0xEF, 0xBB, 0xBF};

static size_t skip_layout(const uint8_t *data, size_t at, size_t stop, uint8_t separator) {
    for (;;) {
        while (at < stop && is_blank(data[at]) && data[at] != separator) at++;
        if (at + 3 <= stop && separator != BYTE_ORDER_MARK[0] &&
            memcmp(data + at, BYTE_ORDER_MARK, 3) == 0)
            at += 3;
        else
            return at;
    }
}

static void clear_index(x12_scan *scan) {
    scan->index.delimiter_count = scan->index.end_count = 0;
    scan->index.carry = 1; /* line ends at the very start are layout */
}

static int reserve_index(x12_scan *scan, size_t bytes) {
    size_t wanted = scan->index.delimiter_count + bytes + INDEX_SLACK;
    if (wanted > scan->delimiter_capacity) {
        uint32_t *grown = realloc(scan->index.delimiters, wanted * 2 * sizeof(uint32_t));
        if (grown == NULL) return -1;
        scan->index.delimiters = grown;
        scan->delimiter_capacity = wanted * 2;
    }
    wanted = scan->index.end_count + bytes + INDEX_SLACK;
    if (wanted > scan->segment_capacity) {
        segment_view *grown = realloc(scan->segments, wanted * 2 * sizeof(segment_view));
        if (grown == NULL) return -1;
        scan->segments = grown;
        scan->segment_capacity = wanted * 2;
    }
    if (wanted > scan->end_capacity) {
        uint32_t *grown = realloc(scan->index.ends, wanted * 2 * sizeof(uint32_t));
        if (grown == NULL) return -1;
        scan->index.ends = grown;
        scan->end_capacity = wanted * 2;
    }
    return 0;
}

/* Take over an ISA that was read at `at`; the walk goes on behind it with its delimiters. */
static void take_isa(x12_scan *scan, size_t at, const x12_header *header) {
    cut_interchange(scan, (uint32_t)at);
    scan->now.delimiters = header->delimiters;
    scan->now.delimiters_known = true;
    scan->now.component_guessed = scan->now.junk_noted = false;
    open_interchange(scan, at, header->end, true);
    const uint32_t length = (uint32_t)(header->end - at);
    if (header->terminator_missing)
        add_finding(scan, X12_ISA_TERMINATOR_MISSING, at, length, packed_id("ISA"), 16);
    else if (length != ISA_BYTES)
        add_finding(scan, X12_ISA_UNPADDED, at, length, packed_id("ISA"), 0);
    if (header->clash) add_finding(scan, X12_DELIMITERS_CLASH, at, length, packed_id("ISA"), 0);
    scan->cursor = header->end;
}

static void go_bare(x12_scan *scan, size_t at, const x12_header *header) {
    scan->now.delimiters = header->delimiters;
    scan->now.delimiters_known = scan->now.component_guessed = true;
    scan->cursor = at;
}

/* What stood before the first header, told where it starts: maybe windows ago. */
static void tell_lead(x12_scan *scan, finding_code code, size_t at) {
    const int64_t before = scan->window_offset + (int64_t)at - scan->now.lead_offset;
    const size_t row = scan->tables.findings.rows;
    add_finding(scan, code, at, before < UINT32_MAX ? (uint32_t)before : UINT32_MAX, 0, 0);
    if (scan->tables.findings.rows > row)
        scan->tables.findings.file_offset[row] = scan->now.lead_offset;
}

/* The input starts with junk: the next ISA is its first header. */
static walk_status find_header_behind_junk(x12_scan *scan) {
    x12_header header;
    size_t found = scan->cursor;
    switch (find_isa(scan->data, found, scan->size, scan->size, scan->final, &found, &header)) {
        case HEADER_NEEDS_MORE: scan->cursor = found; return WALK_STOP;
        case HEADER_FOUND:
            tell_lead(scan, X12_JUNK, found);
            take_isa(scan, found, &header);
            return WALK_ON;
        default:
            /* What cannot be the start of an ISA any more is behind us. */
            if (!scan->final && scan->size - scan->cursor > 2 * ISA_BYTES_MAX) {
                scan->cursor = scan->size - 2 * ISA_BYTES_MAX;
            }
            return WALK_STOP;
    }
}

/* The input starts with an ISA that cannot be read: a GS, an ST or a whole ISA behind it is the
 * first header. Segment starts are not known, so each place counts that is no middle of a word and
 * no second element. */
static walk_status find_header_behind_broken(x12_scan *scan) {
    const uint8_t *data = scan->data;
    x12_header header;
    for (; scan->cursor + 1 < scan->size; scan->cursor++) {
        const size_t at = scan->cursor + 1;
        if (is_alphanumeric(data[at - 1]) || data[at - 1] == scan->now.lead_separator) continue;
        if (data[at] != 'I' && data[at] != 'G' && data[at] != 'S') continue;
        header_status status =
            starts_isa(data, at, scan->size) || (!scan->final && scan->size - at < 4)
                ? read_isa(data, at, scan->size, scan->final, &header)
                : HEADER_NONE;
        if (status == HEADER_FOUND) {
            tell_lead(scan, X12_ISA_BROKEN, at);
            take_isa(scan, at, &header);
            return WALK_ON;
        }
        if (status == HEADER_NONE) status = read_bare(data, at, scan->size, scan->final, &header);
        if (status == HEADER_NEEDS_MORE) return WALK_STOP;
        if (status == HEADER_FOUND) {
            tell_lead(scan, X12_ISA_BROKEN, at);
            go_bare(scan, at, &header);
            return WALK_ON;
        }
    }
    return WALK_STOP;
}

/* Find the first header of the input. WALK_STOP: there is none (any more input may still bring
 * one). */
static walk_status find_first_header(x12_scan *scan) {
    const uint8_t *data = scan->data;
    scan_context *now = &scan->now;
    if (!now->lead_known) {
        const size_t at = skip_layout(data, scan->cursor, scan->size, 0xFF);
        x12_header header;
        scan->cursor = at;
        if (at == scan->size) return WALK_STOP;
        header_status status = read_isa(data, at, scan->size, scan->final, &header);
        if (status == HEADER_NEEDS_MORE) return WALK_STOP;
        if (status == HEADER_FOUND) {
            take_isa(scan, at, &header);
            return WALK_ON;
        }
        now->lead_broken = starts_isa(data, at, scan->size);
        status =
            now->lead_broken ? HEADER_NONE : read_bare(data, at, scan->size, scan->final, &header);
        if (status == HEADER_NEEDS_MORE) return WALK_STOP;
        if (status == HEADER_FOUND) {
            go_bare(scan, at, &header);
            return WALK_ON;
        }
        now->lead_known = true;
        now->lead_offset = scan->window_offset + (int64_t)at;
        if (now->lead_broken) {
            const size_t behind = id_end(data, at, scan->size, "ISA");
            now->lead_separator = data[behind];
            scan->cursor = behind;
        }
    }
    return now->lead_broken ? find_header_behind_broken(scan) : find_header_behind_junk(scan);
}

static uint32_t short_id(const uint8_t *at, uint32_t length) {
    uint32_t key = 0;
    for (uint32_t i = 0; i < length; i++) key |= (uint32_t)at[i] << (8 * i);
    return key;
}

/* A segment id with a line wrap in it, or blanks around it, is still that id. */
static segment_id identify(const x12_scan *scan, const segment_view *segment) {
    uint8_t id[3];
    uint32_t length = 0, start = segment->start, stop = segment->delimiters[0];
    while (start < stop && is_blank(scan->data[start])) start++;
    while (stop > start && is_blank(scan->data[stop - 1])) stop--;
    for (uint32_t at = start; at < stop; at++) {
        if (is_line_end(scan->data[at])) continue;
        if (length == sizeof id) return SEGMENT_UNKNOWN;
        id[length++] = scan->data[at];
    }
    return lookup_segment(short_id(id, length));
}

/* Inside of a set any segment without a terminator is one of its segments; outside of sets an
 * unknown one is junk. */
static void take_without_terminator(x12_scan *scan, const segment_view *segment) {
    const uint32_t ordinal = scan->now.segment_ordinal + 1;
    scan->unterminated = true;
    add_finding_of(scan, ordinal, X12_UNTERMINATED, segment->start,
                   segment_end(scan, segment) - segment->start, 0);
    on_segment(scan, segment);
    scan->unterminated = false;
}

/* The part of a segment before a hidden ISA, taken as the segment that it was meant to be. The
 * index is made anew behind the ISA, so its delimiters may be cut short where they stand. */
static void take_head(x12_scan *scan, const segment_view *segment, size_t stop) {
    uint32_t *delimiters = scan->index.delimiters + (segment->delimiters - scan->index.delimiters);
    uint32_t count = 0;
    while (stop > segment->start && is_blank(scan->data[stop - 1])) stop--;
    while (count < segment->separators && delimiters[count] < stop) count++;
    delimiters[count] = (uint32_t)stop;
    segment_view head = {segment->start, count,      SEGMENT_UNKNOWN,
                         delimiters,     scan->data, delimiters};
    if (clean_segment(scan, &head) != 0) {
        scan->out_of_memory = true;
        return;
    }
    head.id = identify(scan, &head);
    if (head.id == SEGMENT_UNKNOWN && scan->now.mode == SET_NONE) on_segment(scan, &head);
    else
        take_without_terminator(scan, &head);
}

/* A segment that starts with ISA. Where it cannot be read it ends the interchange; in a set its id
 * may be damaged. */
static walk_status take_isa_segment(x12_scan *scan, segment_view *segment) {
    x12_header header;
    const x12_delimiters before = scan->now.delimiters;
    switch (read_followed_isa(scan->data, segment->start, scan->size, scan->final, &header)) {
        case HEADER_NEEDS_MORE: scan->cursor = segment->start; return WALK_STOP;
        case HEADER_FOUND:
            take_isa(scan, segment->start, &header);
            return memcmp(&before, &header.delimiters, sizeof before) == 0 &&
                           header.end == segment_end(scan, segment)
                       ? WALK_ON
                       : WALK_RESYNC;
        default: break;
    }
    if (scan->now.mode != SET_NONE) {
        segment->id = SEGMENT_UNKNOWN;
        on_segment(scan, segment);
    } else {
        cut_interchange(scan, segment->start);
        add_finding(scan, X12_ISA_BROKEN, segment->start,
                    segment_end(scan, segment) - segment->start, packed_id("ISA"), 0);
    }
    return WALK_ON;
}

/* An ISA may stand at the cursor whose segment does not end by the delimiters in use, for it has
 * its own. No terminator stands between the cursor and `indexed`, so layout there is done with: a
 * long run of it is walked once, and not again with each block and window. */
static __attribute__((noinline)) walk_status take_isa_ahead(x12_scan *scan, size_t indexed) {
    const size_t at =
        skip_layout(scan->data, scan->cursor, indexed, scan->now.delimiters.separator);
    x12_header header;
    scan->cursor = at;
    if (at == indexed || !starts_isa(scan->data, at, scan->size)) return WALK_ON;
    switch (read_followed_isa(scan->data, at, scan->size, scan->final, &header)) {
        case HEADER_NEEDS_MORE: scan->cursor = at; return WALK_STOP;
        case HEADER_FOUND: take_isa(scan, at, &header); return WALK_RESYNC;
        default: return WALK_ON;
    }
}

static bool may_hide_isa(const x12_scan *scan, const segment_view *segment, segment_id id) {
    if (segment->separators >= ISA_ELEMENTS) return true;
    if (id == SEGMENT_UNKNOWN) return true;
    return segment->separators > 0 && id <= SEGMENT_IEA &&
           raw_element(scan, segment, segment->separators).length > TRAILER_ELEMENT_MAX;
}

/* Cold: everything that is not a plain segment in its place. */
static __attribute__((noinline)) walk_status take_odd_segment(x12_scan *scan, segment_view *segment,
                                                              bool terminated) {
    const segment_id id = (segment_id)segment->id;
    if (id == SEGMENT_ISA || starts_isa(scan->data, segment->start, scan->size))
        return take_isa_segment(scan, segment);
    if (may_hide_isa(scan, segment, id)) {
        x12_header header;
        size_t hidden = 0;
        switch (find_isa(scan->data, (size_t)segment->start + 1, segment_end(scan, segment),
                         scan->size, scan->final, &hidden, &header)) {
            case HEADER_NEEDS_MORE: scan->cursor = segment->start; return WALK_STOP;
            case HEADER_FOUND:
                take_head(scan, segment, hidden);
                take_isa(scan, hidden, &header);
                return WALK_RESYNC;
            default: break;
        }
    }
    if (terminated) on_segment(scan, segment);
    else
        take_without_terminator(scan, segment);
    return WALK_ON;
}

/* First pass over a block: where each segment starts and what it is. No handler runs in between, so
 * the loop keeps the processor's whole width; the second pass then finds its dispatch decided.
 * SEGMENT_UNKNOWN: the long way. */
static void place_segments(x12_scan *scan) {
    const uint8_t *data = scan->data;
    const uint32_t *ends = scan->index.ends, *first = scan->index.delimiters;
    const uint32_t *delimiters = scan->index.delimiters;
    const size_t end_count = scan->index.end_count;
    const uint8_t separator = scan->now.delimiters.separator;
    /* Values are loaded in words: what ends too near the end of the input is copied before it is
     * read. */
    const uint32_t near =
        scan->index.wrapped || scan->size < VALUE_SLACK ? 0 : (uint32_t)(scan->size - VALUE_SLACK);
    segment_view *segments = scan->segments;
    uint32_t start = (uint32_t)scan->cursor;
    for (size_t i = 0; i < end_count; i++) {
        const uint32_t *last = delimiters + ends[i];
        const uint32_t stop = *last;
        if (UNLIKELY((uint8_t)(data[start] - '0') > 'z' - '0')) {
            start = (uint32_t)skip_layout(data, start, stop, separator);
        }
        const uint32_t length = *first - start, separators = (uint32_t)(last - first);
        uint32_t id = SEGMENT_UNKNOWN;
        if (LIKELY(stop < near && length <= 3 && separators < ISA_ELEMENTS)) {
            id = lookup_segment((uint32_t)load_word_le(data + start) & ID_MASKS[length]);
        }
        segments[i] = (segment_view){start, separators, id, first, data, first};
        first = last + 1;
        __builtin_prefetch(data + stop +
                           PREFETCH_BYTES); /* the next block, while this one is in work */
        start = stop + 1;
    }
}

/* Take every whole segment of the index, which ends at `indexed`. The cursor ends behind the last
 * one taken and the layout behind it. */
static walk_status take_segments(x12_scan *scan, size_t indexed) {
    const size_t end_count = scan->index.end_count;
    bool inside = scan->now.mode == SET_835;
    place_segments(scan);
    for (size_t i = 0; i < end_count; i++) {
        segment_view *segment = &scan->segments[i];
        if (LIKELY(segment->id > SEGMENT_TA1 && inside)) {
            scan->now.segment_ordinal++;
            on_detail(scan, segment);
            continue;
        }
        const uint32_t stop = segment->delimiters[segment->separators];
        if (segment->start == stop && segment->separators == 0) continue; /* a terminator doubled */
        if ((scan->index.wrapped || stop + VALUE_SLACK >= scan->size) &&
            clean_segment(scan, segment) != 0) {
            scan->out_of_memory = true;
            return WALK_STOP;
        }
        segment->id = identify(scan, segment);
        walk_status status = take_odd_segment(scan, segment, true);
        if (status != WALK_ON) return status;
        inside = scan->now.mode == SET_835;
    }
    size_t taken = 0;
    if (end_count > 0) {
        taken = scan->index.ends[end_count - 1] + 1;
        const size_t behind = (size_t)scan->index.delimiters[taken - 1] + 1;
        scan->cursor = behind < scan->size ? behind : scan->size;
    }
    /* Keep the delimiters of the segment that the next block completes. */
    const size_t left = scan->index.delimiter_count - taken;
    memmove(scan->index.delimiters, scan->index.delimiters + taken, left * sizeof(uint32_t));
    scan->index.delimiter_count = left;
    scan->index.end_count = 0;
    return take_isa_ahead(scan, indexed);
}

/* The input ends without a terminator: what is left, blanks aside, is the last segment. */
static walk_status take_unterminated(x12_scan *scan) {
    size_t start =
        skip_layout(scan->data, scan->cursor, scan->size, scan->now.delimiters.separator);
    if (start >= scan->size) return WALK_STOP;
    size_t stop = scan->size;
    while (stop > start && is_blank(scan->data[stop - 1])) stop--;
    while (scan->index.delimiter_count > 0 &&
           scan->index.delimiters[scan->index.delimiter_count - 1] >= stop) {
        scan->index.delimiter_count--;
    }
    if (reserve_index(scan, 1) != 0 ||
        reserve_rows(scan, 1, scan->index.delimiter_count + 1, 0) != 0) {
        scan->out_of_memory = true;
        return WALK_STOP;
    }
    const uint32_t *delimiters = scan->index.delimiters;
    const uint32_t separators = (uint32_t)scan->index.delimiter_count;
    scan->index.delimiters[scan->index.delimiter_count++] = (uint32_t)stop;
    segment_view last = {(uint32_t)start, separators, SEGMENT_UNKNOWN,
                         delimiters,      scan->data, delimiters};
    if (clean_segment(scan, &last) != 0) {
        scan->out_of_memory = true;
        return WALK_STOP;
    }
    last.id = identify(scan, &last);
    scan->unterminated = true;
    walk_status status = take_odd_segment(scan, &last, false);
    scan->unterminated = false;
    return status == WALK_RESYNC ? WALK_RESYNC : WALK_STOP;
}

static void undo_open_set(x12_scan *scan) {
    scan->cursor = scan->now.set_offset;
    scan->now = scan->at_set;
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        ((table_head *)table_at(&scan->tables, i))->rows = scan->rows_at_set[i];
    }
}

/* The open 835 is larger than any window may be: its row stays, marked, its detail goes, its rest
 * is walked over. */
static void discard_open_set(x12_scan *scan) {
    scan_context *now = &scan->now;
    if (now->mode == SET_835) {
        add_finding_of(scan, 1, X12_TRANSACTION_TOO_LARGE, now->set_offset, 0, 0);
        const uint32_t at = (uint32_t)scan->cursor;
        const size_t row = (size_t)now->transaction_row;
        close_835(scan, at, at);
        for (size_t i = 0; i < TABLE_COUNT; i++) {
            table_head *head = table_at(&scan->tables, i);
            const tables_835 *all = &scan->tables;
            bool kept =
                head == (table_head *)&all->transactions || head == (table_head *)&all->findings ||
                head == (table_head *)&all->interchanges || head == (table_head *)&all->groups;
            if (!kept) head->rows = scan->rows_at_set[i];
        }
        transactions_table *table = &scan->tables.transactions;
        table->claim_stop[row] = table->claim_start[row];
        table->service_stop[row] = table->service_start[row];
        table->adjustment_stop[row] = table->adjustment_start[row];
        table->provider_adjustment_stop[row] = table->provider_adjustment_start[row];
    } else if (now->mode == SET_SKIPPED) {
        scan->tables.skipped.end[now->skipped_row] = (uint32_t)scan->cursor;
        scan->tables.skipped.segment_count[now->skipped_row] = now->segment_ordinal;
    }
    now->mode = SET_DISCARDED;
    now->control.length = 0;
    now->claim_row = now->service_row = now->transaction_row = -1;
}

/* Counts of what stays open when the window ends. */
static void note_open_envelopes(x12_scan *scan) {
    const scan_context *now = &scan->now;
    if (scan->isa.open) {
        scan->tables.interchanges.group_count[now->interchange_row] = now->interchange_groups;
        scan->tables.interchanges.transaction_count[now->interchange_row] = now->interchange_sets;
    }
    if (scan->gs.open) scan->tables.groups.transaction_count[now->group_row] = now->group_sets;
}

/* What a window must not change when it is too small for anything: the same bytes come again in a
 * larger one. */
typedef struct {
    scan_context now;
    header_copy isa, gs;
} window_state;

static window_state keep_state(const x12_scan *scan) {
    return (window_state){scan->now, scan->isa, scan->gs};
}

static void restore_state(x12_scan *scan, const window_state *state) {
    scan->now = state->now;
    scan->isa = state->isa;
    scan->gs = state->gs;
}

static void finish_window(x12_scan *scan, size_t window_start, bool discard) {
    if (scan->out_of_memory) return;
    if (scan->final) {
        if (scan->now.delimiters_known) cut_interchange(scan, (uint32_t)scan->size);
        scan->cursor = scan->size;
        return;
    }
    if (scan->now.mode == SET_835 || scan->now.mode == SET_SKIPPED) {
        if (discard) discard_open_set(scan);
        else
            undo_open_set(scan);
    }
    if (discard && scan->cursor == window_start && scan->size > 2 * ISA_BYTES_MAX) {
        /* Not one segment ends in the largest window there is: all but what may start an ISA is
         * junk. */
        scan->cursor = scan->size - 2 * ISA_BYTES_MAX;
        add_finding(scan, X12_JUNK, window_start, (uint32_t)(scan->cursor - window_start), 0, 0);
    }
    note_open_envelopes(scan);
}

static void walk_window(x12_scan *scan, bool discard) {
    const size_t window_start = scan->cursor;
    scan->index.wrapped = false;
    clear_index(scan);
    if (reserve_rows(scan, 4, 4, 0) != 0) scan->out_of_memory = true;
    if (scan->out_of_memory) return;
    if (scan->isa.open) add_interchange_row(scan);
    if (scan->gs.open) add_group_row(scan);
    walk_status status = scan->now.delimiters_known ? WALK_ON : find_first_header(scan);
    size_t indexed = scan->cursor;
    while (status != WALK_STOP && !scan->out_of_memory) {
        if (indexed < scan->size) {
            size_t stop = scan->size - indexed > BLOCK_BYTES ? indexed + BLOCK_BYTES : scan->size;
            if (reserve_index(scan, stop - indexed) != 0) {
                scan->out_of_memory = true;
                return;
            }
            scan->kernel(scan->data, indexed, stop, scan->now.delimiters.separator,
                         scan->now.delimiters.terminator, &scan->index);
            indexed = stop;
            /* Only for segments that end in the block: one of nothing but separators has none. */
            const size_t segments = scan->index.end_count;
            const size_t delimiters = segments > 0 ? scan->index.ends[segments - 1] + 1 : 0;
            if (reserve_rows(scan, segments, delimiters, scan->cursor - window_start) != 0) {
                scan->out_of_memory = true;
                return;
            }
            fetch_rows(scan);
            status = take_segments(scan, indexed);
        } else if (scan->final) {
            status = take_unterminated(scan);
        } else {
            break;
        }
        if (status == WALK_RESYNC) {
            clear_index(scan);
            indexed = scan->cursor;
        }
    }
    finish_window(scan, window_start, discard);
}

/* Walk from the cursor to the end of the window; the cursor ends at the first byte the next window
 * must bring again. `discard` says that the window cannot grow any more, so a set that it does not
 * hold is given up. */
static void scan_window(x12_scan *scan, bool discard) {
    if (scan->final) {
        walk_window(scan, discard);
        return;
    }
    const size_t window_start = scan->cursor;
    const window_state before = keep_state(scan);
    walk_window(scan, discard);
    if (scan->cursor == window_start) restore_state(scan, &before);
}

/* The last finding of a scan that had more than findings_max, at the place of the first that is not
 * there. */
static void tell_left_out(x12_scan *scan) {
    const scan_context *now = &scan->now;
    findings_table *table = &scan->tables.findings;
    if (now->findings_left_out == 0 || scan->out_of_memory || !has_room_for_finding(scan)) return;
    const size_t row = table->rows++;
    FINDING_COLUMNS(ZERO_COLUMN)
    table->code[row] = X12_FINDINGS_MORE;
    table->file_offset[row] = now->left_out_offset;
    table->length[row] =
        now->findings_left_out < UINT32_MAX ? (uint32_t)now->findings_left_out : UINT32_MAX;
    table->transaction[row] = table->claim[row] = table->interchange[row] = -1;
    table->range[row] = now->left_out_range;
}

/* A new, independent input: nothing of the one before it holds. Ordinals go on counting. */
static void reset_context(x12_scan *scan) {
    scan_context fresh = {.interchange_row = -1,
                          .group_row = -1,
                          .transaction_row = -1,
                          .skipped_row = -1,
                          .header_row = -1,
                          .claim_row = -1,
                          .service_row = -1};
    scan->isa.open = scan->gs.open = false;
    fresh.interchange_count = scan->now.interchange_count;
    fresh.group_count = scan->now.group_count;
    fresh.transaction_count = scan->now.transaction_count;
    fresh.findings_left_out = scan->now.findings_left_out;
    fresh.left_out_offset = scan->now.left_out_offset;
    fresh.left_out_range = scan->now.left_out_range;
    scan->now = fresh;
    /* An empty slot must match no date, nor eight NULs, which are looked for in the first: no text
     * that is looked for there is 1. */
    scan->dates_seen[0].text = 1;
}

static void scan_free(x12_scan *scan) {
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        table_free(table_at(&scan->tables, i));
    }
    free(scan->index.delimiters);
    free(scan->index.ends);
    free(scan->envelopes);
    free(scan->segments);
    free(scan->clean_bytes);
    free(scan->clean_delimiters);
    scan->index.delimiters = scan->index.ends = NULL;
    scan->envelopes = NULL;
    scan->segments = NULL;
    scan->delimiter_capacity = scan->end_capacity = scan->envelope_capacity =
        scan->segment_capacity = 0;
}

#endif
