/* The ACH reader: one pass over the records of a window, into columns, with every check.
 *
 * _ach_digits.h fixed columns, _ach_records.h bytes to records, _ach_batches.h records 1 5 8 9,
 * _ach_addenda.h records 7, _ach_trn.h the TRN in free text; here records 6 and the loop.
 */
#ifndef REASSOC_NACHA_H
#define REASSOC_NACHA_H

#include "_ach_addenda.h"

/* Numbers of ach.EntryKind. */
enum {
    KIND_OTHER = 0,
    KIND_CREDIT = 1,
    KIND_DEBIT = 2,
    KIND_PRENOTE = 3,
    KIND_ZERO_DOLLAR = 4,
    KIND_RETURN = 5,
    KIND_NOTIFICATION = 6,
};

/* A text column of a record, its blanks from the mask. One of blanks only lies at 0: columns that a
 * short record does not have would lie behind the end of the source. */
ACH_INLINE text_ref masked_text(const ach_record *record, int first, int width) {
    uint64_t bits = mask_field(&record->mask, first, width);
    text_ref ref = {0, 0};
    if (__builtin_expect(bits != 0, 1)) {
        uint32_t start = (uint32_t)__builtin_ctzll(bits);
        ref.offset = (uint32_t)record->offset + (uint32_t)first + start;
        ref.length = 64 - (uint32_t)__builtin_clzll(bits) - start;
    }
    return ref;
}

/* The numbers of an entry; -1 where one is none. */
typedef struct {
    int code; /* 0 where it is no number */
    int indicator;
    int32_t rdfi;
    int32_t routing;
    int64_t amount;
    int64_t trace;
    int right; /* all of them numbers, the code known, the check digit as it must be */
} entry_numbers;

/* Findings about the numbers of an entry; the rare case, so out of the hot path. */
static __attribute__((noinline)) void find_entry_faults(ach_reader *reader,
                                                        const ach_record *record,
                                                        const entry_numbers *numbers, int32_t row) {
    const uint8_t *at = record->at;
    if (!known_code(numbers->code))
        ach_find_field(reader, ACH_TRANSACTION_CODE_UNKNOWN, record, 2, 2, row);
    if (numbers->routing < 0) ach_find_field(reader, ACH_ROUTING_BAD, record, 4, 9, row);
    else if (at[11] - '0' != check_digit_8(load_8(at + 3)))
        ach_find_field(reader, ACH_CHECK_DIGIT, record, 12, 1, row);
    if (numbers->amount < 0) ach_find_field(reader, ACH_AMOUNT_BAD, record, 30, 10, row);
    if (numbers->trace < 0) ach_find_field(reader, ACH_TRACE_BAD, record, 80, 15, row);
}

static __attribute__((noinline)) void read_numbers_portable(const uint8_t *at,
                                                            entry_numbers *numbers) {
    uint64_t routing = load_8(at + 3), amount = load_8(at + 29);
    uint64_t trace_high = (load_8(at + 78) & ~(uint64_t)0xFF) | '0', trace_low = load_8(at + 86);
    int routed = all_digits_8(routing);
    int paid = all_digits_8(amount) && is_digit(at[37]) && is_digit(at[38]);
    int traced = all_digits_8(trace_high) && all_digits_8(trace_low);
    numbers->code = is_digit(at[1]) && is_digit(at[2]) ? (at[1] - '0') * 10 + at[2] - '0' : 0;
    numbers->indicator = is_digit(at[78]) ? at[78] - '0' : 255;
    numbers->rdfi = routed ? (int32_t)parse_8(routing) : -1;
    numbers->routing = routed && is_digit(at[11]) ? numbers->rdfi * 10 + (at[11] - '0') : -1;
    numbers->amount =
        paid ? (int64_t)parse_8(amount) * 100 + (at[37] - '0') * 10 + (at[38] - '0') : -1;
    numbers->trace = traced ? (int64_t)parse_8(trace_high) * 100000000 + parse_8(trace_low) : -1;
    numbers->right = known_code(numbers->code) && numbers->routing >= 0 && paid && traced &&
                     at[11] - '0' == check_digit_8(routing);
}

#if ACH_HAVE_SSE2
/* The same for an entry whose numbers are all right, 32 digits at once: pairs, fours and eights of
 * digits are added up in lanes of 16 and 32 bits. Returns 0 for every other entry. */
ACH_INLINE int read_numbers_sse2(const uint8_t *at, entry_numbers *numbers) {
    const __m128i ascii = _mm_set1_epi8('0'), nine = _mm_set1_epi8(9), low = _mm_set1_epi16(0x00FF);
    const __m128i ten = _mm_set1_epi16(10), hundreds = _mm_set1_epi32(1 << 16 | 100);
    const __m128i thousands = _mm_set1_epi32(1 << 16 | 10000);
    const __m128i even_weights = _mm_setr_epi16(3, 1, 7, 3, 0, 0, 0, 0);
    const __m128i odd_weights = _mm_setr_epi16(7, 3, 1, 7, 0, 0, 0, 0);
    /* Columns 4-11 and 32-39; columns 79-94, of which the first is the addenda indicator. */
    __m128i left = _mm_sub_epi8(_mm_unpacklo_epi64(_mm_loadl_epi64((const __m128i *)(at + 3)),
                                                   _mm_loadl_epi64((const __m128i *)(at + 31))),
                                ascii);
    __m128i right = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)(at + 78)), ascii);
    __m128i highest = _mm_max_epu8(left, right);
    int digits = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(highest, nine), highest)) == 0xFFFF;
    unsigned tens = at[1] - '0', units = at[2] - '0', check = at[11] - '0';
    unsigned amount_1 = at[29] - '0', amount_2 = at[30] - '0';
    if (!(digits & (tens <= 9) & (units <= 9) & (check <= 9) & (amount_1 <= 9) & (amount_2 <= 9)))
        return 0;
    numbers->indicator = at[78] - '0';
    right = _mm_andnot_si128(_mm_cvtsi32_si128(0xFF), right);
    __m128i left_even = _mm_and_si128(left, low), left_odd = _mm_srli_epi16(left, 8);
    __m128i left_pairs = _mm_add_epi16(_mm_mullo_epi16(left_even, ten), left_odd);
    __m128i right_pairs =
        _mm_add_epi16(_mm_mullo_epi16(_mm_and_si128(right, low), ten), _mm_srli_epi16(right, 8));
    __m128i fours = _mm_packs_epi32(_mm_madd_epi16(left_pairs, hundreds),
                                    _mm_madd_epi16(right_pairs, hundreds));
    __m128i eights = _mm_madd_epi16(fours, thousands);
    __m128i weighted = _mm_add_epi32(_mm_madd_epi16(left_even, even_weights),
                                     _mm_madd_epi16(left_odd, odd_weights));
    uint64_t sums = (uint64_t)_mm_cvtsi128_si64(weighted),
             first = (uint64_t)_mm_cvtsi128_si64(eights);
    uint64_t second = (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(eights, eights));
    numbers->code = (int)(tens * 10 + units);
    if (!known_code(numbers->code) || ((uint32_t)sums + (uint32_t)(sums >> 32) + check) % 10 != 0)
        return 0;
    numbers->rdfi = (int32_t)(uint32_t)first;
    numbers->routing = numbers->rdfi * 10 + (int32_t)check;
    numbers->amount = (int64_t)(first >> 32) + (int64_t)(amount_1 * 10 + amount_2) * 100000000;
    numbers->trace = (int64_t)(uint32_t)second * 100000000 + (int64_t)(second >> 32);
    numbers->right = 1;
    return 1;
}
#endif

ACH_INLINE void read_numbers(const uint8_t *at, entry_numbers *numbers, const int portable) {
#if ACH_HAVE_SSE2
    if (!portable && __builtin_expect(read_numbers_sse2(at, numbers), 1)) return;
#endif
    (void)portable;
    read_numbers_portable(at, numbers);
}

/* Add the entry to its batch. The hash takes the 8 digits even where the check digit is unreadable.
 */
ACH_INLINE void count_entry(ach_reader *reader, const entry_numbers *numbers) {
    ach_totals *totals = &reader->now.batch.totals;
    uint64_t amount = numbers->amount > 0 ? (uint64_t)numbers->amount : 0;
    uint8_t what = CODES[numbers->code];
    totals->entry_addenda++;
    totals->entries++;
    totals->hash += numbers->rdfi > 0 ? (uint32_t)numbers->rdfi : 0;
    totals->credit_cents += what & CODE_CREDIT ? amount : 0;
    totals->debit_cents += what & CODE_DEBIT ? amount : 0;
}

/* A record 6 of a batch whose layout is read. */
ACH_INLINE void add_entry_row(ach_reader *reader, const ach_record *record,
                              const entry_numbers *numbers) {
    ach_state *now = &reader->now;
    ach_batch_state *batch = &now->batch;
    ach_entry_table *table = &reader->tables.entries;
    const uint8_t *at = record->at;
    ROOM(reader, entries, ACH_ENTRY_SPECS, 1);
    if (now->failed) return;
    size_t row = table->rows++;
    text_ref none = {0, 0};
    uint16_t discretionary;
    memcpy(&discretionary, at + 76, 2);
    now->entry.row = (uint32_t)row;
    table->offset[row] = (uint32_t)record->offset;
    table->ordinal[row] = (uint32_t)now->entries++;
    table->record_number[row] = record->number;
    table->batch[row] = batch->row;
    table->transaction_code[row] = (uint8_t)numbers->code;
    table->rdfi_routing[row] = numbers->routing;
    table->account[row] = masked_text(record, 12, 17);
    table->amount_cents[row] = numbers->amount >= 0 ? numbers->amount : 0;
    table->identification[row] = masked_text(record, 39, 15);
    table->receiver_name[row] =
        batch->layout == LAYOUT_COUNTED ? masked_text(record, 58, 16) : masked_text(record, 54, 22);
    table->discretionary[row] =
        __builtin_expect(discretionary == 0x2020, 1) ? 0 : code2_at(at + 76, 2);
    table->addenda_indicator[row] = (uint8_t)numbers->indicator;
    table->trace_number[row] = numbers->trace;
    table->addenda_start[row] = (uint32_t)reader->tables.addenda.rows;
    table->addenda_stop[row] = (uint32_t)reader->tables.addenda.rows;
    table->kind[row] = CODES[numbers->code] & CODE_KIND;
    table->trn_form[row] = TRN_NONE;
    table->trace[row] = none;
    table->payer_id[row] = none;
    table->trace_supplement[row] = none;
    table->valid[row] = (uint8_t)(numbers->amount >= 0);
    if (__builtin_expect(!numbers->right, 0))
        find_entry_faults(reader, record, numbers, (int32_t)row);
    if (numbers->trace >= 0) {
        if (__builtin_expect(numbers->trace <= batch->trace_last, 0))
            ach_find_field(reader, ACH_TRACE_ORDER, record, 80, 15, (int32_t)row);
        batch->trace_last = numbers->trace;
    }
}

/* A record 6. */
ACH_INLINE void read_entry(ach_reader *reader, const ach_record *record, const int portable) {
    ach_state *now = &reader->now;
    ach_entry_state *entry = &now->entry;
    if (__builtin_expect(!now->batch.open, 0)) begin_batch(reader, record, 0);
    entry_numbers numbers;
    read_numbers(record->at, &numbers, portable);
    count_entry(reader, &numbers);
    entry->open = 1;
    entry->skipped = now->batch.iat || now->batch.adv;
    entry->disordered = 0;
    entry->has_98 = 0;
    entry->has_99 = 0;
    entry->record_number = record->number;
    entry->addenda = 0;
    entry->texts = 0;
    entry->declared = -1;
    entry->tail_bytes = load_8(record->at + 86);
    entry->trace_tail = numbers.trace >= 0 ? (int32_t)(numbers.trace % 10000000) : -1;
    entry->offset = record->offset;
    if (entry->skipped) return;
    if (now->batch.layout == LAYOUT_COUNTED)
        entry->declared = (int32_t)number_at(record->at + 54, 4);
    add_entry_row(reader, record, &numbers);
}

static __attribute__((noinline)) void find_addenda_fault(ach_reader *reader, uint16_t code,
                                                         uint8_t position, uint8_t width) {
    const ach_entry_state *entry = &reader->now.entry;
    ach_find(reader, code, (int64_t)entry->offset + position - 1, width, entry->record_number, '6',
             position, (int32_t)entry->row);
}

/* The entry is complete: its addenda against what it says of them. */
ACH_INLINE void end_entry(ach_reader *reader, const uint8_t *data, size_t size) {
    ach_entry_state *entry = &reader->now.entry;
    const ach_batch_state *batch = &reader->now.batch;
    ach_entry_table *table = &reader->tables.entries;
    if (!entry->open) return;
    entry->open = 0;
    if (entry->skipped || reader->now.failed) return;
    size_t row = entry->row;
    table->addenda_stop[row] = (uint32_t)reader->tables.addenda.rows;
    if (table->addenda_indicator[row] != (entry->addenda > 0))
        find_addenda_fault(reader, ACH_ADDENDA_INDICATOR, 79, 1);
    if (entry->declared >= 0 && (uint32_t)entry->declared != entry->addenda && !entry->has_98 &&
        !entry->has_99)
        find_addenda_fault(reader, ACH_ADDENDA_COUNT, 55, 4);
    if (batch->single && entry->texts > 1) find_addenda_fault(reader, ACH_ADDENDA_TOO_MANY, 79, 1);
    if (entry->has_99) table->kind[row] = KIND_RETURN;
    else if (entry->has_98 || batch->cor)
        table->kind[row] = KIND_NOTIFICATION;
    int join = batch->joined;
    if (!batch->has_header && entry->texts > 0) {
        /* An extract without record 5: only the text tells that it is a CTX. */
        size_t at =
            reader->tables.addenda.offset[reader->tables.entries.addenda_start[row]] + SLICE_FIRST;
        size_t length = at >= size ? 0 : size - at < SLICE_BYTES ? size - at : SLICE_BYTES;
        join = looks_like_x12(data + (length ? at : 0), length);
    }
    if (join && entry->texts > 0) join_payload(reader, data, size);
}

static inline int is_filler(const ach_record *record) {
    if (record->length < 2) return 0;
    for (uint32_t i = 0; i < record->length; i++)
        if (record->at[i] != '9') return 0;
    return 1;
}

/* Records 1, 5, 8 and 9. */
static __attribute__((noinline)) void read_envelope(ach_reader *reader, const ach_record *record) {
    switch (record->at[0]) {
        case '1':
            end_file(reader, 1);
            begin_file(reader, record, 1);
            break;
        case '5': begin_batch(reader, record, 1); break;
        case '8': read_batch_control(reader, record); break;
        default:
            if (!is_filler(record)) read_file_control(reader, record);
    }
}

/* Remember this place between two entries. */
static inline void keep_state(ach_reader *reader) {
    const ach_tables *tables = &reader->tables;
    const size_t rows[9] = {
        tables->files.rows,         tables->batches.rows, tables->entries.rows,
        tables->addenda.rows,       tables->returns.rows, tables->payloads.rows,
        tables->payload_bytes.rows, tables->headers.rows, tables->findings.rows};
    reader->kept = reader->now;
    memcpy(reader->kept.rows, rows, sizeof rows);
}

/* Remember the place before this record 6, as if it had not been taken yet. */
static inline void keep_state_before(ach_reader *reader, const ach_record *record) {
    keep_state(reader);
    reader->kept.position = record->offset;
    reader->kept.between = BETWEEN;
    reader->kept.records--;
}

/* Back to that place: what came after is read again with the next window. */
static inline void restore_state(ach_reader *reader) {
    ach_tables *tables = &reader->tables;
    const size_t *rows = reader->kept.rows;
    reader->now = reader->kept;
    tables->files.rows = rows[0];
    tables->batches.rows = rows[1];
    tables->entries.rows = rows[2];
    tables->addenda.rows = rows[3];
    tables->returns.rows = rows[4];
    tables->payloads.rows = rows[5];
    tables->payload_bytes.rows = rows[6];
    tables->headers.rows = rows[7];
    tables->findings.rows = rows[8];
}

#define PROBES 8
#define PROBE_BYTES 4096

/* How many records of a type to expect, from a look at a few places; too low only costs a copy. */
static inline size_t expected_rows(const uint8_t *data, size_t size, uint8_t type) {
    size_t most = size / RECORD_BYTES + 16, found = 0, seen = 0;
    if (size < 2 * PROBES * PROBE_BYTES) return most;
    for (int probe = 0; probe < PROBES; probe++) {
        const uint8_t *at = data + (size - PROBE_BYTES) / (PROBES - 1) * (size_t)probe;
        for (int i = 1; i < PROBE_BYTES; i++)
            found += at[i] == type && (at[i - 1] == '\n' || at[i - 1] == '\r');
        seen += PROBE_BYTES;
    }
    size_t expected = (size_t)((double)size * ((double)found + 1) / (double)seen * 1.03) + 1024;
    return found > 0 && expected < most ? expected : found > 0 ? most : most / 2;
}

/* Rows for what goes on from the window before. */
static inline void begin_window(ach_reader *reader, const uint8_t *data, size_t size,
                                int64_t window_offset) {
    ach_state *now = &reader->now;
    now->position = 0;
    now->window_offset = window_offset;
    now->entry.open = 0;
    now->findings_left_out = 0;
    RESERVE(reader, entries, ACH_ENTRY_SPECS, expected_rows(data, size, '6'));
    RESERVE(reader, addenda, ACH_ADDENDA_SPECS, expected_rows(data, size, '7'));
    if (now->failed) return;
    now->file.row = -1;
    now->batch.row = -1;
    if (now->file.status != FILE_NONE) add_file_row(reader);
    if (now->batch.open) add_batch_row(reader);
}

/* An entry ends at its limits, so that a window never has to grow beyond them: what follows belongs
 * to no entry. */
ACH_INLINE void limit_entry(ach_reader *reader, const uint8_t *data, size_t size,
                            const ach_record *record) {
    const ach_entry_state *entry = &reader->now.entry;
    if (!entry->open) return;
    int full = entry->addenda >= ENTRY_ADDENDA_MAX;
    int32_t row = entry->skipped ? -1 : (int32_t)entry->row;
    if (full) ach_find_field(reader, ACH_ADDENDA_LIMIT, record, 0, RECORD_BYTES, row);
    if (full || record->offset - entry->offset > ENTRY_BYTES_MAX) end_entry(reader, data, size);
}

ACH_INLINE void read_records(ach_reader *reader, const uint8_t *data, size_t size, int final,
                             const int portable) {
    ach_state *now = &reader->now;
    ach_record record;
    for (;;) {
        if (!final && !now->entry.open) keep_state(reader);
        if (!next_record(reader, data, size, final, &record, portable)) break;
        if (__builtin_expect(now->plausible == 0, 0))
            now->plausible += (uint64_t)plausible_record(&record);
        uint8_t type = record.at[0];
        if (type == '7') {
            limit_entry(reader, data, size, &record);
            read_addenda(reader, data, &record, portable);
        } else {
            end_entry(reader, data, size);
            if (__builtin_expect(type == '6', 1)) {
                if (!final && size - record.offset < 2 * ENTRY_BYTES_MAX)
                    keep_state_before(reader, &record);
                read_entry(reader, &record, portable);
            } else {
                read_envelope(reader, &record);
            }
        }
        if (__builtin_expect(record.length < RECORD_BYTES, 0) && !is_filler(&record))
            ach_find_field(reader, ACH_RECORD_SHORT, &record, 0, (uint8_t)record.length, -1);
        if (__builtin_expect(now->failed, 0)) break;
    }
}

/* Read one window of the input. `final` says that nothing follows. Returns the bytes that are done
 * with: the next window starts there. Memory is short where now.failed is set. */
static inline size_t ach_read(ach_reader *reader, const uint8_t *data, size_t size,
                              int64_t window_offset, int final, int portable) {
    begin_window(reader, data, size, window_offset);
    if (reader->now.failed) return 0;
    if (portable) read_records(reader, data, size, final, 1);
    else
        read_records(reader, data, size, final, 0);
    if (!final && reader->now.entry.open && !reader->now.failed) {
        if (reader->now.position - reader->now.entry.offset > ENTRY_BYTES_MAX)
            end_entry(reader, data, size);
        else
            restore_state(reader);
    }
    if (final) {
        end_entry(reader, data, size);
        end_file(reader, 0);
    }
    if (!reader->now.failed) {
        if (reader->now.batch.open) settle_batch_row(reader);
        settle_file_row(reader);
        tell_left_out(reader);
    }
    return reader->now.position;
}

#endif
