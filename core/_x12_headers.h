/* Header segments (ISA, GS): kept copies, and the rows of interchanges and groups made of them. */
#ifndef REASSOC_X12_HEADERS_H
#define REASSOC_X12_HEADERS_H

#include "_x12_835.h"

/* ---- header copies and their rows ---- */

static int keep_envelope_bytes(x12_scan *scan, const header_copy *copy, uint32_t *place) {
    *place = (uint32_t)scan->envelope_bytes;
    if (copy->length == 0) return 0;
    if (scan->envelope_bytes + copy->length > scan->envelope_capacity) {
        size_t capacity = scan->envelope_capacity * 2 + 4096;
        uint8_t *grown = realloc(scan->envelopes, capacity);
        if (grown == NULL) {
            scan->out_of_memory = true;
            return -1;
        }
        scan->envelopes = grown;
        scan->envelope_capacity = capacity;
    }
    memcpy(scan->envelopes + scan->envelope_bytes, copy->bytes, copy->length);
    scan->envelope_bytes += copy->length;
    return 0;
}

/* An element of a kept header segment, trailing blanks removed. */
static element_view header_element(const header_copy *copy, uint8_t separator, uint8_t terminator,
                                   int number) {
    const uint8_t *at = copy->bytes, *stop = copy->bytes + copy->length;
    if (stop > at && stop[-1] == terminator) stop--;
    for (; number > 0; number--) {
        at = at < stop ? memchr(at, separator, (size_t)(stop - at)) : NULL;
        if (at == NULL) return (element_view){copy->bytes, 0};
        at++;
    }
    const uint8_t *end = memchr(at, separator, (size_t)(stop - at));
    if (end == NULL) end = stop;
    while (end > at && is_blank(end[-1])) end--;
    return (element_view){at, (uint32_t)(end - at)};
}

static text_ref header_text(const header_copy *copy, element_view element, uint32_t place) {
    return (text_ref){place + (uint32_t)(element.at - copy->bytes), element.length};
}

#define ZERO_COLUMN(kind, name, doc) table->name[row] = (kind_##kind){0};

static uint64_t header_code(const header_copy *copy, element_view element, uint32_t size) {
    return load_up_to_8(element.at, element.length < size ? element.length : size);
}

static void add_interchange_row(x12_scan *scan) {
    const header_copy *copy = &scan->isa;
    const x12_delimiters *delimiters = &scan->now.delimiters;
    interchanges_table *table = &scan->tables.interchanges;
    uint32_t place;
    if (keep_envelope_bytes(scan, copy, &place) != 0) return;
    const size_t row = table->rows++;
    INTERCHANGE_COLUMNS(ZERO_COLUMN)
    scan->now.interchange_row = (int32_t)row;
#define ISA_ELEMENT(number)                                                                        \
    header_element(copy, delimiters->separator, delimiters->terminator, number)
#define ISA_TEXT(number) header_text(copy, ISA_ELEMENT(number), place)
    element_view date = ISA_ELEMENT(9), repetition = ISA_ELEMENT(11);
    table->file_offset[row] = copy->file_offset;
    table->file_end[row] = -1;
    table->ordinal[row] = copy->ordinal;
    table->enveloped[row] = copy->enveloped;
    table->valid[row] = !copy->enveloped;
    table->element_separator[row] = delimiters->separator;
    table->component_separator[row] = delimiters->component;
    table->segment_terminator[row] = delimiters->terminator;
    const bool repeats = repetition.length == 1 && !is_alphanumeric(repetition.at[0]);
    table->repetition_separator[row] = repeats ? repetition.at[0] : 0;
    table->isa[row] = (text_ref){place, copy->length};
    table->sender_qualifier[row] = (kind_code2)header_code(copy, ISA_ELEMENT(5), 2);
    table->sender[row] = ISA_TEXT(6);
    table->receiver_qualifier[row] = (kind_code2)header_code(copy, ISA_ELEMENT(7), 2);
    table->receiver[row] = ISA_TEXT(8);
    table->date[row] = parse_date(date);
    table->version[row] = header_code(copy, ISA_ELEMENT(12), 8);
    table->control_number[row] = ISA_TEXT(13);
    table->usage[row] = (kind_code2)header_code(copy, ISA_ELEMENT(15), 2);
    table->group_count[row] = scan->now.interchange_groups;
    table->transaction_count[row] = scan->now.interchange_sets;
#undef ISA_TEXT
#undef ISA_ELEMENT
}

static void add_group_row(x12_scan *scan) {
    const header_copy *copy = &scan->gs;
    const x12_delimiters *delimiters = &scan->now.delimiters;
    groups_table *table = &scan->tables.groups;
    uint32_t place;
    if (keep_envelope_bytes(scan, copy, &place) != 0) return;
    const size_t row = table->rows++;
    GROUP_COLUMNS(ZERO_COLUMN)
    scan->now.group_row = (int32_t)row;
#define GS_ELEMENT(number)                                                                         \
    header_element(copy, delimiters->separator, delimiters->terminator, number)
#define GS_TEXT(number) header_text(copy, GS_ELEMENT(number), place)
    table->interchange[row] = scan->now.interchange_row;
    table->file_offset[row] = copy->file_offset;
    table->ordinal[row] = copy->ordinal;
    table->enveloped[row] = copy->enveloped;
    table->valid[row] = !copy->enveloped;
    table->gs[row] = (text_ref){place, copy->length};
    table->functional_id[row] = (kind_code2)header_code(copy, GS_ELEMENT(1), 2);
    table->sender[row] = GS_TEXT(2);
    table->receiver[row] = GS_TEXT(3);
    table->date[row] = parse_date(GS_ELEMENT(4));
    table->control_number[row] = GS_TEXT(6);
    table->version[row] = GS_TEXT(8);
    table->transaction_count[row] = scan->now.group_sets;
#undef GS_TEXT
#undef GS_ELEMENT
}

static void keep_header(x12_scan *scan, header_copy *copy, size_t start, size_t end, bool enveloped,
                        uint32_t ordinal) {
    copy->length = 0;
    for (size_t at = start; enveloped && at < end && copy->length < HEADER_COPY_BYTES_MAX; at++) {
        const uint8_t byte = scan->data[at];
        const bool ends = at + 1 == end && byte == scan->now.delimiters.terminator;
        if (ends || !is_line_end(byte)) copy->bytes[copy->length++] = byte;
    }
    copy->file_offset = scan->window_offset + (int64_t)start;
    copy->ordinal = ordinal;
    copy->enveloped = enveloped;
    copy->open = true;
}

#endif
