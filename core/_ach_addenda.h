/* Records 7: the TRN of a CCD+, returns and changes, and the slices of a CTX. */
#ifndef REASSOC_ACH_ADDENDA_H
#define REASSOC_ACH_ADDENDA_H

#include "_ach_batches.h"
#include "_ach_trn.h"

#define SLICE_BYTES 80
#define SLICE_FIRST 3 /* 0-based column of the payment related information */

/* Numbers of ach.ReturnForm. */
enum {
    RETURN_PLAIN = 0,
    RETURN_DISHONORED = 1,
    RETURN_CONTESTED = 2,
    CHANGE_NOTICE = 3,
    CHANGE_REFUSED = 4
};

#if ACH_HAVE_SSE2
typedef struct {
    uint64_t low;  /* bytes 0-63 of the slice */
    uint32_t high; /* bytes 64-79 */
} slice_mask;

/* One bit per byte of the slice: the byte equals `value`. */
ACH_INLINE slice_mask slice_equal(const __m128i *slice, char value) {
    __m128i all = _mm_set1_epi8(value);
    slice_mask mask;
    uint64_t a = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(slice[0], all));
    uint64_t b = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(slice[1], all));
    uint64_t c = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(slice[2], all));
    uint64_t d = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(slice[3], all));
    mask.low = a | b << 16 | c << 32 | d << 48;
    mask.high = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(slice[4], all));
    return mask;
}
#endif

/* The form that nearly all CCD+ have: `TRN*1*<letters and digits>*<10 of them>` and `\` or `~`,
 * then blanks. Returns whether it was that; everything else, and every other CPU, takes trn_find,
 * which gives the same. */
ACH_INLINE int trn_fast(const uint8_t *text, const record_mask *mask, trn_result *result,
                        const int portable) {
#if ACH_HAVE_SSE2
    if (portable || (load_8(text) & 0xFFFFFFFFFFFFu) != 0x2A312A4E5254u /* TRN*1* */) return 0;
    /* Where the text ends is known from the record's mask of blanks: columns 4-83 are its bits
     * 3-82. */
    uint64_t tail = mask_field(mask, SLICE_FIRST + 40, 40),
             head = mask_field(mask, SLICE_FIRST, 40);
    int stop = tail != 0 ? 104 - __builtin_clzll(tail) : 64 - __builtin_clzll(head);
    if (stop < 6 + 1 + 1 + 10 + 1) return 0;
    /* (trace, separator, payer's ten characters, terminator) */
    uint8_t terminator = text[stop - 1];
    int trace_stop = stop - 12;
    if (terminator != '\\' && terminator != '~') return 0;
    if (text[trace_stop] != '*' || trace_stop - 6 > TRN02_BYTES_MAX) return 0;
    /* All but the separator letters and digits, no X (it may be masked), no T at the start (a
     * doubled prefix). */
    for (int at = 6; at < stop - 1; at += 16) {
        __m128i block = _mm_loadu_si128((const __m128i *)(text + at));
        __m128i digit = _mm_sub_epi8(block, _mm_set1_epi8('0'));
        __m128i letter = _mm_sub_epi8(block, _mm_set1_epi8('A'));
        __m128i good =
            _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8(9)), digit),
                         _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(25)), letter));
        good = _mm_andnot_si128(_mm_cmpeq_epi8(block, _mm_set1_epi8('X')), good);
        unsigned bits = (unsigned)_mm_movemask_epi8(good);
        int width = stop - 1 - at, separator = trace_stop - at;
        unsigned wanted = width >= 16 ? 0xFFFFu : (1u << width) - 1u;
        if (separator >= 0 && separator < 16) bits ^= 1u << separator;
        if ((bits & wanted) != wanted) return 0;
    }
    if (text[6] == 'T') return 0;
    result->form = terminator == '~' ? TRN_TILDE : TRN_BACKSLASH;
    result->trace.start = 6;
    result->trace.stop = (uint32_t)trace_stop;
    result->payer.start = (uint32_t)trace_stop + 1;
    result->payer.stop = (uint32_t)stop - 1;
    result->supplement.start = result->supplement.stop = 0;
    return 1;
#else
    (void)text, (void)mask, (void)result, (void)portable;
    return 0;
#endif
}

ACH_INLINE text_ref trn_ref(size_t base, trn_span span) {
    text_ref ref = {0, 0};
    if (span.stop > span.start) {
        ref.offset = (uint32_t)(base + span.start);
        ref.length = span.stop - span.start;
    }
    return ref;
}

/* Put a TRN into the entry's row. */
ACH_INLINE void set_trn(ach_entry_table *table, size_t row, size_t base, const trn_result *found) {
    table->trn_form[row] = found->form;
    table->trace[row] = trn_ref(base, found->trace);
    table->payer_id[row] = trn_ref(base, found->payer);
    table->trace_supplement[row] = trn_ref(base, found->supplement);
}

/* The TRN of one 05 record. A second one in the entry must say the same, and a record that names
 * another entry may belong to a lost one: both leave doubt, and doubt means no trace. */
ACH_INLINE void take_trn(ach_reader *reader, const uint8_t *data, const ach_record *record,
                         int foreign, const int portable) {
    ach_entry_table *table = &reader->tables.entries;
    size_t row = reader->now.entry.row, base = record->offset + SLICE_FIRST;
    trn_result found;
    if (!trn_fast(record->at + SLICE_FIRST, &record->mask, &found, portable))
        found = trn_find(record->at + SLICE_FIRST, SLICE_BYTES);
    if (__builtin_expect(found.form == TRN_NONE, 0)) return;
    int doubt = found.form == TRN_UNCERTAIN || foreign || table->trn_form[row] == TRN_UNCERTAIN;
    if (!doubt && table->trn_form[row] != TRN_NONE) {
        text_ref known = table->trace[row];
        uint32_t size = found.trace.stop - found.trace.start;
        const uint8_t *again = record->at + SLICE_FIRST + found.trace.start;
        if (known.length == size && memcmp(data + known.offset, again, size) == 0) return;
        doubt = 1;
    }
    if (__builtin_expect(doubt, 0)) {
        trn_give_up(&found);
        if (table->trn_form[row] != TRN_UNCERTAIN)
            ach_find_field(reader, ACH_TRN_UNCERTAIN, record, SLICE_FIRST + 1, SLICE_BYTES,
                           (int32_t)row);
    }
    set_trn(table, row, base, &found);
}

static inline void read_return_tail(ach_return_table *table, size_t row, const uint8_t *at,
                                    int contested) {
    table->return_trace_number[row] = number_at(at + 38, 15);
    table->return_settlement_day[row] = (int16_t)number_at(at + 53, 3);
    table->return_reason[row] = code2_at(at + 56, 2);
    if (!contested) return;
    int bad;
    table->date[row] = date_at(at + 21, &bad);
    table->original_settlement_day[row] = (int16_t)number_at(at + 35, 3);
    table->dishonored_trace_number[row] = number_at(at + 58, 15);
    table->dishonored_settlement_day[row] = (int16_t)number_at(at + 73, 3);
    table->dishonored_reason[row] = code2_at(at + 76, 2);
}

/* Addenda 98 and 99. Returns the form, so that the caller knows where the information stands. */
static inline int read_return(ach_reader *reader, const ach_record *record, int type,
                              size_t addenda_row) {
    ach_return_table *table = &reader->tables.returns;
    const uint8_t *at = record->at;
    ROOM(reader, returns, ACH_RETURN_SPECS, 1);
    if (reader->now.failed) return RETURN_PLAIN;
    size_t row = table->rows++;
    int number = (int)number_at(at + 4, 2), letter = upper(at[3]);
    int form = type == 98 ? CHANGE_NOTICE : RETURN_PLAIN;
    if (type == 99 && letter == 'R' && number >= 61 && number <= 70) form = RETURN_DISHONORED;
    if (type == 99 && letter == 'R' && number >= 71 && number <= 79) form = RETURN_CONTESTED;
    if (type == 98 && letter == 'C' && number >= 61 && number <= 69) form = CHANGE_REFUSED;
    if (number < 1 || letter != (type == 98 ? 'C' : 'R'))
        ach_find_field(reader, ACH_RETURN_CODE_UNKNOWN, record, 4, 3,
                       (int32_t)reader->now.entry.row);
    table->entry[row] = (int32_t)reader->now.entry.row;
    table->addenda[row] = (int32_t)addenda_row;
    table->form[row] = (uint8_t)form;
    table->code[row] = code_at(at + 3, 3);
    table->original_trace_number[row] = number_at(at + 6, 15);
    table->original_rdfi[row] = (int32_t)number_at(at + 27, 8);
    table->date[row] = DATE_NONE;
    table->original_settlement_day[row] = -1;
    table->return_trace_number[row] = -1;
    table->return_settlement_day[row] = -1;
    table->return_reason[row] = 0;
    table->dishonored_trace_number[row] = -1;
    table->dishonored_settlement_day[row] = -1;
    table->dishonored_reason[row] = 0;
    table->change_code[row] = 0;
    table->trace_sequence[row] = -1;
    int bad = 0;
    if (form == RETURN_PLAIN) table->date[row] = date_at(at + 21, &bad);
    if (bad) ach_find_field(reader, ACH_DATE_BAD, record, 22, 6, (int32_t)reader->now.entry.row);
    if (form == RETURN_DISHONORED || form == RETURN_CONTESTED)
        read_return_tail(table, row, at, form == RETURN_CONTESTED);
    if (form == CHANGE_REFUSED) {
        table->change_code[row] = code_at(at + 64, 3);
        table->trace_sequence[row] = (int32_t)number_at(at + 67, 7);
    }
    return form;
}

/* Columns 84-94 of an addenda: its own number and the entry's. Returns whether the entry's is
 * another's. */
ACH_INLINE int check_sequence(ach_reader *reader, const ach_record *record, size_t row, int text) {
    ach_entry_state *entry = &reader->now.entry;
    ach_addenda_table *table = &reader->tables.addenda;
    uint64_t tail = load_8(record->at + 86), head = load_8(record->at + 79) >> 32;
    if (__builtin_expect(text && entry->texts == 1 && head == 0x31303030u /* 0001 */ &&
                             entry->trace_tail >= 0 && (tail ^ entry->tail_bytes) >> 8 == 0,
                         1)) {
        table->sequence[row] = 1;
        table->entry_sequence[row] = entry->trace_tail;
        return 0;
    }
    int32_t entry_sequence = -1, sequence = -1;
    head = head << 32 | 0x30303030u;
    tail = (tail & ~(uint64_t)0xFF) | '0';
    if (all_digits_8(tail)) entry_sequence = (int32_t)parse_8(tail);
    if (text && all_digits_8(head)) sequence = (int32_t)parse_8(head);
    table->sequence[row] = (int16_t)sequence;
    table->entry_sequence[row] = entry_sequence;
    if (text && sequence != (int32_t)entry->texts) {
        entry->disordered = 1;
        ach_find_field(reader, ACH_ADDENDA_SEQUENCE, record, 84, 4, (int32_t)entry->row);
    }
    if (__builtin_expect(entry_sequence == entry->trace_tail, 1)) return 0;
    ach_find_field(reader, ACH_ADDENDA_ENTRY_DIFFERS, record, 88, 7, (int32_t)entry->row);
    return entry_sequence >= 0 && entry->trace_tail >= 0;
}

/* A record 7. */
ACH_INLINE void read_addenda(ach_reader *reader, const uint8_t *data, const ach_record *record,
                             const int portable) {
    ach_state *now = &reader->now;
    ach_entry_state *entry = &now->entry;
    if (now->batch.open) now->batch.totals.entry_addenda++;
    if (!entry->open) {
        ach_find_field(reader, ACH_ADDENDA_ORPHAN, record, 0, RECORD_BYTES, -1);
        return;
    }
    entry->addenda++;
    if (entry->skipped) return;
    ROOM(reader, addenda, ACH_ADDENDA_SPECS, 1);
    if (now->failed) return;
    ach_addenda_table *table = &reader->tables.addenda;
    size_t row = table->rows++;
    const uint8_t *at = record->at;
    int type = is_digit(at[1]) && is_digit(at[2]) ? (at[1] - '0') * 10 + at[2] - '0' : -1;
    table->offset[row] = (uint32_t)record->offset;
    table->entry[row] = (int32_t)entry->row;
    table->record_number[row] = record->number;
    table->type_code[row] = (uint8_t)type;
    if (__builtin_expect(type == 5, 1)) {
        entry->texts++;
        int foreign = check_sequence(reader, record, row, 1);
        uint64_t head = mask_field(&record->mask, SLICE_FIRST, 40);
        uint64_t tail = mask_field(&record->mask, SLICE_FIRST + 40, 40);
        int stop = tail != 0   ? 104 - __builtin_clzll(tail)
                   : head != 0 ? 64 - __builtin_clzll(head)
                               : 0;
        int start = head != 0 ? __builtin_ctzll(head) : tail != 0 ? 40 + __builtin_ctzll(tail) : 0;
        table->information[row].offset = (uint32_t)record->offset + SLICE_FIRST + (uint32_t)start;
        table->information[row].length = (uint32_t)(stop - start);
        if (!now->batch.joined) take_trn(reader, data, record, foreign, portable);
        return;
    }
    check_sequence(reader, record, row, 0);
    int first = SLICE_FIRST, width = 76;
    if (type == 98 || type == 99) {
        int form = read_return(reader, record, type, row);
        if (type == 99) entry->has_99 = 1;
        else
            entry->has_98 = 1;
        first = form == RETURN_DISHONORED ? 58 : 35;
        width = form == RETURN_DISHONORED  ? 21
                : form == RETURN_CONTESTED ? 0
                : type == 99               ? 44
                                           : 29;
    } else if (!known_addenda_type(type)) {
        ach_find_field(reader, ACH_ADDENDA_TYPE_UNKNOWN, record, 2, 2, (int32_t)entry->row);
    }
    table->information[row] = text_at(record->at, (uint32_t)record->offset, first, width);
}

/* The slice of one 05 record: what is cut off at the end of a short one were blanks. */
static inline void join_slice(const ach_reader *reader, const uint8_t *data, size_t size,
                              size_t row, uint8_t *target) {
    size_t at = reader->tables.addenda.offset[row] + SLICE_FIRST, length = 0;
    size_t most = at >= size ? 0 : size - at < SLICE_BYTES ? size - at : SLICE_BYTES;
    while (length < most && data[at + length] != '\n' && data[at + length] != '\r') length++;
    if (length > 0) memcpy(target, data + at, length);
    memset(target + length, ' ', SLICE_BYTES - length);
}

/* Whether the sequence numbers of a disordered entry still say in which order its slices belong:
 * each of 1..n once. */
static inline int is_permutation(const ach_addenda_table *table, size_t first, size_t stop,
                                 uint32_t texts) {
    uint64_t seen[(ENTRY_ADDENDA_MAX + 64) / 64] = {0};
    for (size_t row = first; row < stop; row++) {
        int sequence = table->sequence[row];
        if (table->type_code[row] != 5) continue;
        if (sequence < 1 || (uint32_t)sequence > texts ||
            (seen[sequence >> 6] >> (sequence & 63) & 1))
            return 0;
        seen[sequence >> 6] |= (uint64_t)1 << (sequence & 63);
    }
    return 1;
}

/* ISA, GS or ST with a separator after it, at the start; or an ISA after other text. */
static inline int looks_like_x12(const uint8_t *text, size_t length) {
    size_t at = 0;
    while (at < length && text[at] == ' ') at++;
    if (at + 3 < length && (memcmp(text + at, "GS", 2) == 0 || memcmp(text + at, "ST", 2) == 0) &&
        !is_alnum(text[at + 2]) && text[at + 2] != ' ')
        return 1;
    for (; at + 4 <= length; at++)
        if (memcmp(text + at, "ISA", 3) == 0 && !is_alnum(text[at + 3]) && text[at + 3] != ' ')
            return 1;
    return 0;
}

/* Join the slices of the entry that just ended into payload_bytes: the only time they are copied.
 */
static inline void join_payload(ach_reader *reader, const uint8_t *data, size_t size) {
    const ach_entry_state *entry = &reader->now.entry;
    const ach_addenda_table *addenda = &reader->tables.addenda;
    ach_bytes_table *bytes = &reader->tables.payload_bytes;
    ach_payload_table *table = &reader->tables.payloads;
    size_t first = reader->tables.entries.addenda_start[entry->row], slice = 0;
    ROOM(reader, payloads, ACH_PAYLOAD_SPECS, 1);
    ROOM(reader, payload_bytes, ACH_BYTES_SPECS, (size_t)entry->texts * SLICE_BYTES);
    if (reader->now.failed) return;
    int by_number =
        entry->disordered && is_permutation(addenda, first, addenda->rows, entry->texts);
    uint8_t *target = bytes->data + bytes->rows;
    for (size_t row = first; row < addenda->rows; row++) {
        if (addenda->type_code[row] != 5) continue;
        size_t place = by_number ? (size_t)addenda->sequence[row] - 1 : slice++;
        join_slice(reader, data, size, row, target + place * SLICE_BYTES);
    }
    size_t length = (size_t)entry->texts * SLICE_BYTES;
    while (length > 0 && target[length - 1] == ' ') length--;
    size_t row = table->rows++;
    table->entry[row] = (int32_t)entry->row;
    table->start[row] = (uint32_t)bytes->rows;
    table->stop[row] = (uint32_t)(bytes->rows + length);
    table->x12[row] = (uint8_t)looks_like_x12(target, length);
    trn_result found;
    memset(&found, 0, sizeof found);
    if (!table->x12[row])
        found = trn_find(target,
                         length < TRN_SEARCH_BYTES_MAX ? (uint32_t)length : TRN_SEARCH_BYTES_MAX);
    table->trn_form[row] = found.form;
    table->trace[row] = trn_ref(bytes->rows, found.trace);
    table->payer_id[row] = trn_ref(bytes->rows, found.payer);
    table->trace_supplement[row] = trn_ref(bytes->rows, found.supplement);
    if (found.form == TRN_UNCERTAIN)
        ach_find(reader, ACH_TRN_UNCERTAIN, (int64_t)entry->offset, 0, entry->record_number, '6', 0,
                 (int32_t)entry->row);
    bytes->rows += length;
}

#endif
