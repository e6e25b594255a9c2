/* Roots of traces with numbered parts: `12345678` of `12345678-01`. */
#ifndef REASSOC_ROOTS_H
#define REASSOC_ROOTS_H

#include "_keys.h"

#define ROOT_PART_BYTES_MAX 3 /* letters and digits of a numbered part behind a root */

static inline int is_mark(uint8_t c) {
    return c == '-' || c == '.' || c == '/' || c == '_' || c == ' ';
}

/* Length of what of N1 stands before a numbered part (`12345678` of `12345678-01`), 0 where there
 * is none. */
static inline size_t root_length(const uint8_t *n1, size_t length) {
    size_t part = 0, significant = 0;
    while (part < length && part <= ROOT_PART_BYTES_MAX && is_alnum(n1[length - 1 - part])) part++;
    if (part == 0 || part > ROOT_PART_BYTES_MAX || part == length) return 0;
    size_t root = length - part - 1;
    if (!is_mark(n1[root])) return 0;
    for (size_t i = 0; i < root; i++)
        significant += is_alnum(n1[i]) && (significant > 0 || n1[i] != '0');
    return significant >= ROOT_BYTES_MIN ? root : 0;
}

/* N1 of all rows, less its numbered part; `out` has room for all N1. Returns how many had one. */
static inline size_t cut_parts(const item_set *set, uint8_t *out, text_ref *refs) {
    size_t found = 0, at = 0;
    for (size_t i = 0; i < set->rows; i++) {
        const match_item *item = &set->items[i];
        refs[i] = (text_ref){(uint32_t)at, 0};
        const uint8_t *n1 = item_text(set, item);
        size_t root = root_length(n1, item->at.n1_length);
        size_t length = root ? root : item->at.n1_length;
        memcpy(out + at, n1, length);
        refs[i].length = (uint32_t)length;
        at += length;
        found += root > 0;
    }
    return found;
}

#endif
