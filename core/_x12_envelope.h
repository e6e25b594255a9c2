/* Which bytes delimit an interchange: read from its ISA by counting separators, never from a fixed
 * offset.
 *
 * Real files leave ISA fields unpadded, forget the terminator behind ISA16, or put a line end in
 * its place. What follows (a GS nearly always) then tells: the byte that ends it is the terminator.
 */
#ifndef REASSOC_X12_ENVELOPE_H
#define REASSOC_X12_ENVELOPE_H

#include "_simd.h"

enum {
    ISA_ELEMENTS = 16,
    ISA_BYTES = 106,      /* with every element padded and the terminator */
    ISA_BYTES_MAX = 1024, /* an ISA whose sixteenth separator lies further off is none */
    ISA_ELEMENT_BYTES_MAX =
        64, /* nor is one with an element longer than this (the widest should have 15) */
    SEGMENT_PROBE_BYTES = 512 /* how far the segment behind an ISA is looked at */
};

typedef struct {
    uint8_t separator;
    uint8_t component;
    uint8_t terminator;
} x12_delimiters;

typedef enum { HEADER_FOUND, HEADER_NONE, HEADER_NEEDS_MORE } header_status;

typedef struct {
    x12_delimiters delimiters;
    size_t end; /* byte after the header segment, terminator included where there is one */
    bool terminator_missing;
    bool clash;
} x12_header;

static inline bool is_alphanumeric(uint8_t byte) {
    return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z');
}

/* Bytes that may lie between segments: layout, padding of records, an end-of-file mark of old
 * systems. */
static inline bool is_blank(uint8_t byte) {
    return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t' || byte == 0 || byte == 0x1A;
}

static inline bool is_line_end(uint8_t byte) {
    return byte == '\n' || byte == '\r';
}

static inline size_t skip_blanks(const uint8_t *data, size_t at, size_t size) {
    while (at < size && is_blank(data[at])) at++;
    return at;
}

/* Past blanks and empty segments: some writers double their terminators. */
static inline size_t skip_empty(const uint8_t *data, size_t at, size_t size, uint8_t terminator) {
    while (at < size && (is_blank(data[at]) || data[at] == terminator)) at++;
    return at;
}

/* The byte behind the segment id at `at`, which a line wrap may have cut; 0 where another id stands
 * there. */
static inline size_t id_end(const uint8_t *data, size_t at, size_t size, const char *id) {
    for (size_t first = at; *id != 0; at++) {
        if (at >= size) return 0;
        if (data[at] == (uint8_t)*id) id++;
        else if (at == first || !is_line_end(data[at]))
            return 0;
    }
    return at;
}

static inline bool starts_with(const uint8_t *data, size_t at, size_t size, const char *id,
                               uint8_t separator) {
    size_t end = id_end(data, at, size, id);
    while (end != 0 && end < size && is_line_end(data[end]) && data[end] != separator) end++;
    return end != 0 && end < size && data[end] == separator;
}

/* "ISA" as a segment id, whatever follows. */
static inline bool starts_isa(const uint8_t *data, size_t at, size_t size) {
    size_t end = id_end(data, at, size, "ISA");
    return end != 0 && end < size && !is_alphanumeric(data[end]);
}

/* The byte that ends the segment at `at` after `elements` separators: the first behind the last one
 * that is neither alphanumeric nor a blank or point inside the element. 0 where it cannot be told.
 */
static inline uint8_t ending_byte(const uint8_t *data, size_t at, size_t size, uint8_t separator,
                                  int elements) {
    size_t stop = at + SEGMENT_PROBE_BYTES < size ? at + SEGMENT_PROBE_BYTES : size;
    for (; at < stop; at++) {
        if (data[at] == separator) {
            elements--;
        } else if (elements <= 0 && !is_alphanumeric(data[at]) && data[at] != ' ' &&
                   data[at] != '.' && data[at] != 0) {
            return data[at];
        }
    }
    return 0;
}

/* The terminator as the segment behind the ISA shows it; 0 where no such segment starts at `at`. */
static inline uint8_t next_segment_ending(const uint8_t *data, size_t at, size_t size,
                                          uint8_t separator) {
    if (starts_with(data, at, size, "GS", separator))
        return ending_byte(data, at, size, separator, 8);
    if (starts_with(data, at, size, "TA1", separator))
        return ending_byte(data, at, size, separator, 5);
    if (starts_with(data, at, size, "IEA", separator))
        return ending_byte(data, at, size, separator, 2);
    if (starts_with(data, at, size, "ST", separator))
        return ending_byte(data, at, size, separator, 2);
    return 0;
}

/* An over-long ISA16 (or an element too many before it): the segment behind starts a few bytes on,
 * at `next`, and its ending tells the terminator. The component separator stands right before the
 * terminator, or else where it should. */
static inline void settle_overlong(const uint8_t *data, size_t at, size_t next, uint8_t ending,
                                   x12_header *header) {
    x12_delimiters *delimiters = &header->delimiters;
    size_t last = next;
    while (last > at + 1 && data[last - 1] != ending && is_blank(data[last - 1])) last--;
    header->terminator_missing = data[last - 1] != ending;
    header->end = header->terminator_missing ? next : last;
    const uint8_t before = data[last - 1 - !header->terminator_missing];
    if (before == delimiters->separator) delimiters->component = 0;
    else if (!is_alphanumeric(before))
        delimiters->component = before;
    delimiters->terminator = ending;
}

/* The place of ISA16 where a line may have wrapped right before it, at `at`. Line ends that a
 * segment follows are no such wrap: ISA16 is empty, and they end the ISA. */
static inline size_t behind_wrap(const uint8_t *data, size_t at, size_t size, uint8_t separator) {
    size_t place = at;
    while (place < size && is_line_end(data[place])) place++;
    if (place == at || place == size || is_alphanumeric(data[place]) || data[place] == separator)
        return at;
    const size_t next = skip_blanks(data, place, size);
    return next_segment_ending(data, next, size, separator) != 0 ? at : place;
}

/* `at` is the byte behind the sixteenth separator: the place of ISA16. */
static inline void settle_terminator(const uint8_t *data, size_t at, size_t size,
                                     x12_header *header) {
    x12_delimiters *delimiters = &header->delimiters;
    const uint8_t separator = delimiters->separator;
    at = behind_wrap(data, at, size, separator);
    const uint8_t behind = at + 1 < size ? data[at + 1] : 0;
    delimiters->component = data[at];
    delimiters->terminator = behind;
    header->end = at + 2 <= size ? at + 2 : size;
    header->terminator_missing = false;
    size_t next = skip_blanks(data, at + 1, size);
    uint8_t ending = next_segment_ending(data, next, size, separator);
    if (ending != 0 && (next == at + 1 || is_line_end(behind))) {
        if (ending == data[at]) { /* ISA16 is empty: the byte in its place is the terminator */
            delimiters->component = 0;
            delimiters->terminator = ending;
            header->end = at + 1;
        } else if (!(is_line_end(ending) && is_line_end(behind))) {
            delimiters->terminator = ending;
            header->end = at + 1;
            header->terminator_missing = true;
        }
        return;
    }
    if (is_line_end(behind) && next < size && !is_alphanumeric(data[next])) {
        delimiters->terminator = data[next]; /* a line wrapped before its terminator */
        header->end = next + 1;
        return;
    }
    size_t after = skip_empty(data, header->end, size, behind);
    if (next_segment_ending(data, after, size, separator) != 0) return;
    for (size_t probe = at + 2; probe < at + 12 && probe < size; probe++) {
        ending = next_segment_ending(data, probe, size, separator);
        if (ending != 0) {
            settle_overlong(data, at, probe, ending, header);
            return;
        }
    }
}

/* Read the ISA at `at`. HEADER_NEEDS_MORE only where `final` is false. An ISA with too few elements
 * or too many is none: its terminator would be a letter or the separator. */
static inline header_status read_isa(const uint8_t *data, size_t at, size_t size, bool final,
                                     x12_header *header) {
    if (!final && size - at < 2 * ISA_BYTES_MAX) return HEADER_NEEDS_MORE;
    size_t place = id_end(data, at, size, "ISA");
    if (place == 0) return HEADER_NONE;
    while (place < size && (data[place] == ' ' || is_line_end(data[place]))) place++;
    if (place >= size || is_alphanumeric(data[place])) return HEADER_NONE;
    const uint8_t separator = data[place];
    size_t stop = at + ISA_BYTES_MAX < size ? at + ISA_BYTES_MAX : size;
    int counted = 0;
    size_t element_start = place;
    for (; place < stop && counted < ISA_ELEMENTS; place++) {
        if (data[place] != separator) continue;
        if (place - element_start > ISA_ELEMENT_BYTES_MAX) return HEADER_NONE;
        element_start = place + 1;
        counted++;
    }
    if (counted < ISA_ELEMENTS || place >= stop) return HEADER_NONE;
    x12_delimiters *delimiters = &header->delimiters;
    delimiters->separator = separator;
    settle_terminator(data, place, size, header);
    if (is_line_end(delimiters->component)) delimiters->component = 0;
    if (is_alphanumeric(delimiters->terminator) || delimiters->terminator == separator)
        return HEADER_NONE;
    header->clash =
        delimiters->component == separator || delimiters->component == delimiters->terminator;
    return HEADER_FOUND;
}

/* The same in mid-file, where three letters may be chance: a segment of the envelope follows, or
 * the input ends. */
static inline header_status read_followed_isa(const uint8_t *data, size_t at, size_t size,
                                              bool final, x12_header *header) {
    header_status status = read_isa(data, at, size, final, header);
    if (status != HEADER_FOUND) return status;
    const size_t next = skip_empty(data, header->end, size, header->delimiters.terminator);
    if (!final && size - next < SEGMENT_PROBE_BYTES) return HEADER_NEEDS_MORE;
    if (next == size) return HEADER_FOUND;
    return next_segment_ending(data, next, size, header->delimiters.separator) != 0 ? HEADER_FOUND
                                                                                    : HEADER_NONE;
}

/* Delimiters of input without an ISA, from the GS or ST at `at`; `end` is `at`: that segment is
 * read as any other. */
static inline header_status read_bare(const uint8_t *data, size_t at, size_t size, bool final,
                                      x12_header *header) {
    if (!final && size - at < SEGMENT_PROBE_BYTES) return HEADER_NEEDS_MORE;
    if (at + 4 > size) return HEADER_NONE;
    bool group = data[at] == 'G' && data[at + 1] == 'S';
    bool set = data[at] == 'S' && data[at + 1] == 'T';
    const uint8_t separator = data[at + 2];
    if (!(group || set) || is_alphanumeric(separator) || is_blank(separator)) return HEADER_NONE;
    uint8_t terminator = next_segment_ending(data, at, size, separator);
    if (terminator == 0) return HEADER_NONE;
    header->delimiters = (x12_delimiters){separator, terminator == ':' ? '>' : ':', terminator};
    if (is_line_end(terminator)) { /* a line wrapped before its terminator, as above */
        size_t place = at;
        while (place < size && data[place] != terminator) place++;
        place = skip_blanks(data, place, size);
        if (place == size && !final) return HEADER_NEEDS_MORE;
        if (place < size && !is_alphanumeric(data[place]) && data[place] != separator) {
            header->delimiters.terminator = data[place];
        }
    }
    header->end = at;
    header->terminator_missing = false;
    header->clash = false;
    return HEADER_FOUND;
}

/* The next place in [at, stop) where an ISA can be read that a segment follows. HEADER_NEEDS_MORE:
 * that place cannot be told yet from what follows it. */
static inline header_status find_isa(const uint8_t *data, size_t at, size_t stop, size_t size,
                                     bool final, size_t *found, x12_header *header) {
    for (; at + 4 <= stop; at++) {
        const uint8_t *place = memmem(data + at, stop - at, "ISA", 3);
        if (place == NULL) return HEADER_NONE;
        at = (size_t)(place - data);
        if (at + 4 > stop) return HEADER_NONE;
        header_status status = read_followed_isa(data, at, size, final, header);
        *found = at;
        if (status != HEADER_NONE) return status;
    }
    return HEADER_NONE;
}

#endif
