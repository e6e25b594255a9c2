/* What a pair agrees on, field by field, and what made its traces and payers equal. */
#ifndef REASSOC_DESCRIBE_H
#define REASSOC_DESCRIBE_H

#include "_resolve.h"

typedef struct {
    uint16_t *agreed, *differed, *rewrites;
    int32_t *days_apart;
    uint64_t *match_ids;
} pair_words;

/* Whether one trace (N3) is a cut form of the other (N5). */
static inline int is_cut_trace(const matching *m, const match_item *r, const match_item *p) {
    size_t a_length = n3_length(r), b_length = n3_length(p);
    const uint8_t *a = n3_text(m->left, r), *b = n3_text(m->right, p);
    if (a_length < b_length) {
        const uint8_t *text = a;
        size_t length = a_length;
        a = b, a_length = b_length;
        b = text, b_length = length;
    }
    if (b_length < CUT_BYTES_MIN || a_length == b_length) return 0;
    return memcmp(a, b, b_length) == 0 || memcmp(a + a_length - b_length, b, b_length) == 0;
}

/* The least form in which the traces are equal. */
static inline uint16_t trace_rewrites(const matching *m, const match_item *r, const match_item *p) {
    if (same_n1(m->left, r, m->right, p))
        return (r->flags | p->flags) & ITEM_CHANGED ? REWRITE_N1 : 0;
    if (n3_length(r) != n3_length(p) ||
        memcmp(n3_text(m->left, r), n3_text(m->right, p), n3_length(r)) != 0)
        return REWRITE_N4;
    return r->at.n2_length != p->at.n2_length ? REWRITE_N3 : REWRITE_N2;
}

static inline void describe_pair(const matching *m, int32_t left_row, int32_t right_row,
                                 const pair_words *out, size_t at) {
    const match_item *r = &m->left->items[left_row], *p = &m->right->items[right_row];
    uint16_t agreed = 0, differed = 0, rewrites = 0;
    uint32_t a = m->left_payee[left_row], b = m->right_payee[right_row];
    int dated = r->date != DATE_NONE && p->date != DATE_NONE;
    if (r->flags & p->flags & ITEM_TRACE) {
        int same = same_n4(m->left, r, m->right, p), cut = !same && is_cut_trace(m, r, p);
        *(same || cut ? &agreed : &differed) |= FIELD_TRACE;
        if (same) rewrites |= trace_rewrites(m, r, p);
        else if (cut)
            rewrites |= REWRITE_N5;
    }
    if (r->flags & p->flags & ITEM_PAYER) {
        *(r->payer_group == p->payer_group ? &agreed : &differed) |= FIELD_PAYER;
        if (r->payer == p->payer)
            rewrites |= (r->flags ^ p->flags) & ITEM_PAYER_BARE ? REWRITE_P1 : 0;
        else if (r->payer_group == p->payer_group)
            rewrites |= REWRITE_P2;
    }
    *(r->cents == p->cents ? &agreed : &differed) |= FIELD_AMOUNT;
    if (dated) *(r->date == p->date ? &agreed : &differed) |= FIELD_DATE;
    if (a != 0 && b != 0) *(a == b ? &agreed : &differed) |= FIELD_PAYEE;
    out->agreed[at] = agreed;
    out->differed[at] = differed;
    out->rewrites[at] = rewrites;
    out->days_apart[at] = dated ? p->date - r->date : DATE_NONE;
    if (out->match_ids[at] == 0) out->match_ids[at] = hash_pair(r->id, p->id);
}

static inline void describe_pairs(const matching *m, const int32_t *left, const int32_t *right,
                                  size_t count, const pair_words *out) {
    enum { AHEAD = 12 };
    for (size_t i = 0; i < count; i++) {
        if (i + AHEAD < count) {
            __builtin_prefetch(&m->left->items[left[i + AHEAD]]);
            __builtin_prefetch(&m->right->items[right[i + AHEAD]]);
            __builtin_prefetch(&m->right_payee[right[i + AHEAD]]);
        }
        describe_pair(m, left[i], right[i], out, i);
    }
}

#endif
