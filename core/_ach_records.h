/* From bytes to records of 94 columns, whatever the line ends are.
 *
 * A record starts where a record type stands: at the start of a line, or right after a whole record
 * where lines do not end. It ends after 94 bytes or at CR or LF. What is neither is junk; it ends
 * with its line, or where bytes follow that can hardly be anything else than a record (files
 * without line ends have lost or gained a byte there).
 */
#ifndef REASSOC_ACH_RECORDS_H
#define REASSOC_ACH_RECORDS_H

#include "_ach_state.h"

/* Bytes that must be there to tell a record from junk. */
#define PLAUSIBLE_BYTES 12

/* How far ahead records are asked for: the processor's own prefetch stops at every page
 * (test_bench_nacha). */
#define PREFETCH_BYTES 1024

/* What a transaction code says. The low three bits are the entry's kind (_nacha.h); loans (5x) have
 * no debit but 55. */
#define CODE_KIND 0x07
#define CODE_KNOWN 0x08
#define CODE_CREDIT 0x10
#define CODE_DEBIT 0x20
static const uint8_t CODES[100] = {
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x18, 0x19, 0x1B, 0x1C, 0x20, 0x28, 0x2A, 0x2B, 0x2C,
    0x00, 0x18, 0x19, 0x1B, 0x1C, 0x20, 0x28, 0x2A, 0x2B, 0x2C, 0x00, 0x18, 0x19, 0x1B, 0x1C,
    0x20, 0x28, 0x2A, 0x2B, 0x2C, 0x00, 0x18, 0x19, 0x1B, 0x1C, 0x2A, 0x28, 0x20, 0x20, 0x20,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};

ACH_INLINE int known_code(int code) {
    return (CODES[code] & CODE_KNOWN) != 0;
}

static inline int known_addenda_type(int type) {
    return type == 5 || type == 98 || type == 99 || type == 2 || (type >= 10 && type <= 18);
}

/* Whether a record starts here; `strict` where only bytes say so, not the place. */
static inline int plausible_start(const uint8_t *at, const int strict) {
    int two = is_digit(at[1]) && is_digit(at[2]) ? (at[1] - '0') * 10 + (at[2] - '0') : -1;
    int64_t class_code;
    switch (at[0]) {
        case '1': return two == 1 && (!strict || (at[3] == ' ' && number_at(at + 4, 8) >= 0));
        case '5':
        case '8':
            class_code = number_at(at + 1, 3);
            if (!strict) return class_code >= 200 && class_code < 300;
            return class_code == 200 || class_code == 220 || class_code == 225 || class_code == 280;
        case '6':
            if (two < 20 || two > 89 || number_at(at + 3, 8) < 0) return 0;
            return !strict || (known_code(two) && at[11] == '0' + check_digit_8(load_8(at + 3)));
        case '7': return !strict && known_addenda_type(two);
        case '9': return !strict && number_at(at + 1, PLAUSIBLE_BYTES - 1) >= 0;
        default: return 0;
    }
}

/* 1, 5, 6, 7, 8 or 9. */
ACH_INLINE int record_type(uint8_t byte) {
    uint8_t digit = (uint8_t)(byte - '0');
    return digit <= 9 && (0x3E2 >> digit & 1);
}

/* Whether the record at `record` counts as proof that this is ACH. */
static inline int plausible_record(const ach_record *record) {
    if (record->length < PLAUSIBLE_BYTES) return 0;
    return plausible_start(record->at, 0);
}

/* Go past junk. Returns 0 when more input is needed to tell. */
static inline int skip_junk(ach_state *now, const uint8_t *data, size_t size, int final) {
    size_t at = now->position;
    for (; at < size; at++) {
        if (data[at] == '\n' || data[at] == '\r') break;
        if (size - at < PLAUSIBLE_BYTES) {
            if (final) continue;
            now->position = at;
            return 0;
        }
        if (plausible_start(data + at, 1)) break;
    }
    now->position = at;
    if (at < size) now->between = BETWEEN;
    return at < size;
}

static inline void tell_junk(ach_reader *reader) {
    ach_state *now = &reader->now;
    ach_find(reader, ACH_JUNK, (int64_t)now->position, 0, (uint32_t)now->records, 0, 0, -1);
    now->between = SKIPPING;
}

/* Go to the first byte of the next record. Returns 0 at the end of the window, or where more input
 * is needed. */
static inline int seek_record(ach_reader *reader, const uint8_t *data, size_t size, int final) {
    ach_state *now = &reader->now;
    for (;;) {
        if (now->failed) return 0;
        if (now->between == SKIPPING && !skip_junk(now, data, size, final)) return 0;
        if (now->position >= size) return 0;
        uint8_t byte = data[now->position];
        if (byte == '\n' || byte == '\r') {
            now->between = BETWEEN;
        } else if (byte == ' ' || byte == '\t') {
            if (now->between == AFTER && !now->long_told) {
                ach_find(reader, ACH_RECORD_LONG, (int64_t)now->position, 0, (uint32_t)now->records,
                         now->last_type, 0, -1);
                now->long_told = 1;
            }
        } else if (byte == 0xEF && size - now->position < 3 && !final) {
            return 0;
        } else if (byte == 0xEF && size - now->position >= 3 &&
                   memcmp(data + now->position, "\xEF\xBB\xBF", 3) == 0) {
            now->position += 2; /* a byte order mark */
        } else if (byte != 0 && byte != 0x1A) {
            if (record_type(byte)) {
                if (now->between == BETWEEN) return 1;
                if (size - now->position >= PLAUSIBLE_BYTES) {
                    if (plausible_start(data + now->position, 0)) return 1;
                } else if (!final)
                    return 0;
            }
            tell_junk(reader);
            if (now->position + 1 > size) return 0;
        }
        now->position++;
    }
}

/* The record of a line that ends early, or of the last line. Returns 0 when the end is not in the
 * window. */
static inline int short_record(ach_reader *reader, const uint8_t *data, size_t size, int final,
                               ach_record *record) {
    ach_state *now = &reader->now;
    const uint8_t *at = data + now->position;
    size_t limit = size - now->position < RECORD_BYTES ? size - now->position : RECORD_BYTES;
    size_t length = 0;
    while (length < limit && at[length] != '\n' && at[length] != '\r') length++;
    if (length == limit && limit < RECORD_BYTES && !final) return 0;
    record->offset = now->position;
    record->length = (uint32_t)length;
    now->position += length;
    now->between = length < RECORD_BYTES ? BETWEEN : AFTER;
    now->long_told = 0;
    if (length == RECORD_BYTES) {
        record->at = at;
    } else {
        memcpy(reader->padded, at, length);
        memset(reader->padded + length, ' ', RECORD_BYTES - length);
        record->at = reader->padded;
    }
    record->mask = mask_portable(record->at);
    return 1;
}

/* Take the next record. Returns 0 at the end of the window, or where more input is needed. */
ACH_INLINE int next_record(ach_reader *reader, const uint8_t *data, size_t size, int final,
                           ach_record *record, const int portable) {
    ach_state *now = &reader->now;
    size_t at = now->position;
    int here = now->between == BETWEEN && at < size && record_type(data[at]);
    if (__builtin_expect(!here, 0)) {
        if (!seek_record(reader, data, size, final)) return 0;
        at = now->position;
    }
    if (size - at >= RECORD_BYTES) {
        if (size - at > PREFETCH_BYTES + RECORD_BYTES) {
            __builtin_prefetch(data + at + PREFETCH_BYTES);
            __builtin_prefetch(data + at + PREFETCH_BYTES + RECORD_BYTES / 2);
        }
        record->mask = mask_of(data + at, portable);
        if (__builtin_expect(!record->mask.control, 1)) {
            record->at = data + at;
            record->offset = at;
            record->length = RECORD_BYTES;
            at += RECORD_BYTES;
            if (__builtin_expect(at < size && data[at] == '\n', 1)) {
                now->position = at + 1;
                now->between = BETWEEN;
            } else {
                now->position = at;
                now->between = AFTER;
                now->long_told = 0;
            }
        } else if (!short_record(reader, data, size, final, record))
            return 0;
    } else if (!short_record(reader, data, size, final, record))
        return 0;
    now->records++;
    now->last_type = record->at[0];
    record->number = (uint32_t)now->records;
    return 1;
}

#endif
