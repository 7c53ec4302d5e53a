/* Columns of decision records as codes. The references are in `recsys/feed/compact.py` and `recsys/codes.py`. */

#include "native.h"
#include <string.h>

typedef struct { /* the names are those of recsys/feed/compiled_columns.py */
    const uint8_t *kinds;     /* (8, n) the columns that make a kind */
    const int64_t *creators;  /* (n,) */
    const uint16_t *sources;  /* (n,) */
    const float *scores;      /* (n,) */
    const int64_t *named;     /* (n_named,) creators, each once */
    const int64_t *listed;    /* (n_listed,) rows, ascending */
    const int64_t *exact;     /* (n_exact,) rows, ascending, from 0 on */
    int64_t *room;            /* (4 n + n_slots,) to work in */
    uint8_t *packed;          /* the result, piece by piece */
    int64_t *ends;            /* (9,) where each piece ends */
    int64_t n, n_named, n_listed, n_exact, n_slots, match; /* n_slots: a power of two, at least 2 n */
} columns;

typedef struct { /* the distinct values of a column, ascending, and for each row which of them it has */
    int64_t *values, *codes, *counts, *order, *slots;
    int64_t n, mask;
} table;

static int64_t slot_of(const table *t, int64_t value)
{
    uint64_t slot = ((uint64_t)value * 0x9E3779B97F4A7C15u) >> 32;
    while (t->slots[slot & t->mask] >= 0 && t->values[t->slots[slot & t->mask]] != value)
        slot++;
    return slot & t->mask;
}

/* Gathers the distinct values in the order in which they come; `order` are their places. */
static void gather(table *t, const int64_t *values, int64_t n)
{
    memset(t->slots, -1, (t->mask + 1) * sizeof *t->slots);
    t->n = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t value = values[i], slot = slot_of(t, value); /* `values` may be `codes`, which is written below */
        if (t->slots[slot] < 0) {
            t->slots[slot] = t->n;
            t->counts[t->n] = 0;
            t->order[t->n] = t->n;
            t->values[t->n++] = value;
        }
        t->codes[i] = t->slots[slot];
        t->counts[t->codes[i]]++;
    }
}

/* Puts `order` so that the values ascend (shell sort: they are few, and most of them may be different). */
static void sort(table *t)
{
    for (int64_t gap = t->n / 2; gap > 0; gap = gap == 2 ? 1 : gap * 5 / 11)
        for (int64_t i = gap; i < t->n; i++) {
            const int64_t moved = t->order[i];
            int64_t at = i;
            for (; at >= gap && t->values[t->order[at - gap]] > t->values[moved]; at -= gap)
                t->order[at] = t->order[at - gap];
            t->order[at] = moved;
        }
}

/* The bytes of numbers (n,) plane by plane, the lowest first: as many planes as the largest number has bytes. */
static uint8_t *put_planes(uint8_t *to, const int64_t *numbers, int64_t n)
{
    uint64_t all = 0;
    for (int64_t i = 0; i < n; i++)
        all |= (uint64_t)numbers[i];
    for (int byte = 0; byte < 8 && all >> 8 * byte; byte++, to += n)
        for (int64_t i = 0; i < n; i++)
            to[i] = (uint8_t)((uint64_t)numbers[i] >> 8 * byte);
    return to;
}

/* Replaces `codes` (n,) by places in the ascending order, and puts the table as numbers of `size` bytes. */
static uint8_t *put_table(table *t, uint8_t *to, int64_t n, int64_t size)
{
    sort(t);
    for (int64_t k = 0; k < t->n; k++, to += size) {
        const uint64_t value = (uint64_t)t->values[t->order[k]];
        for (int64_t byte = 0; byte < size; byte++)
            to[byte] = (uint8_t)(value >> 8 * byte);
        t->counts[t->order[k]] = k;
    }
    for (int64_t i = 0; i < n; i++)
        t->codes[i] = t->counts[t->codes[i]];
    return to;
}

/* 0 stands alone, k + 1 is the k-th that is named; higher ones are only told apart. */
static void code_creators(const columns *c, table *t)
{
    gather(t, c->creators, c->n);
    sort(t);
    int64_t *codes = t->counts, next = c->n_named + 1; /* a count becomes a code, below 0 until it is final */
    for (int64_t k = 0; k < c->n_named; k++) {
        const int64_t found = t->slots[slot_of(t, c->named[k])];
        if (found >= 0)
            codes[found] = -(k + 1);
    }
    for (int64_t k = 0; k < t->n; k++) {
        int64_t *code = codes + t->order[k];
        *code = *code < 0 ? -*code : *code > 1 ? next++ : 0;
    }
    for (int64_t i = 0; i < c->n; i++)
        t->codes[i] = codes[t->codes[i]];
}

/* Whether scores fall and are finite, so that they can be told by how far they fall. */
static int falls(const float *scores, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabsf(scores[i]) < INFINITY) || (i && scores[i] > scores[i - 1]))
            return 0;
    return n > 0;
}

/* A float as a whole number in the same order. */
static int64_t key_of(float score)
{
    int32_t bits;
    memcpy(&bits, &score, sizeof bits);
    return (bits < 0 ? -(int64_t)(bits & 0x7FFFFFFF) : (int64_t)bits) + ((int64_t)1 << 31);
}

/* The first exact score and how far the next ones fall, then the ends of the rest and their steps, of 256. */
static uint8_t *put_scores(const columns *c, int64_t *numbers, uint8_t *to, int64_t *ends)
{
    const uint32_t first = (uint32_t)key_of(c->scores[c->exact[0]]);
    memcpy(to, &first, sizeof first);
    ends[0] = (to += sizeof first) - c->packed;
    for (int64_t k = 1; k < c->n_exact; k++)
        numbers[k - 1] = key_of(c->scores[c->exact[k - 1]]) - key_of(c->scores[c->exact[k]]);
    ends[1] = (to = put_planes(to, numbers, c->n_exact - 1)) - c->packed;
    int64_t n_rest = 0, next = 0;
    for (int64_t i = 0; i < c->n; i++)
        if (next < c->n_exact && c->exact[next] == i)
            next++;
        else
            numbers[n_rest++] = i;
    if (n_rest) {
        const float limits[2] = {c->scores[numbers[0]], c->scores[numbers[n_rest - 1]]};
        const double best = limits[0], worst = limits[1], width = best - worst ? best - worst : 1.0;
        int64_t above = 255;
        for (int64_t k = 0; k < n_rest; k++) {
            const int64_t level = (int64_t)rint(((double)c->scores[numbers[k]] - worst) / width * 255);
            numbers[k] = above - level;
            above = level;
        }
        memcpy(to, limits, sizeof limits);
        to += sizeof limits;
    }
    ends[2] = to - c->packed;
    ends[3] = (to = put_planes(to, numbers, n_rest)) - c->packed;
    return to;
}

/*
 * Fills `packed` and `ends`: the table and the codes of kinds, of sources, the codes of creators, then the scores in four
 * pieces, where they fall. Returns whether they do.
 */
PUBLIC int32_t code_columns(const columns *c)
{
    int64_t *const room = c->room, n = c->n;
    table t = {room, room + n, room + 2 * n, room + 3 * n, room + 4 * n, 0, c->n_slots - 1};
    uint8_t *to = c->packed;

    for (int64_t i = 0; i < n; i++) {
        uint64_t kind = 0;
        for (int64_t k = 0; k < 8; k++)
            kind |= (uint64_t)(k == c->match ? 0 : c->kinds[k * n + i]) << 8 * k;
        t.codes[i] = (int64_t)kind;
    }
    for (int64_t k = 0; k < c->n_listed; k++) /* how near an item is, of the listed rows alone */
        t.codes[c->listed[k]] |= (int64_t)((uint64_t)c->kinds[c->match * n + c->listed[k]] << 8 * c->match);
    gather(&t, t.codes, n);
    c->ends[0] = (to = put_table(&t, to, n, 8)) - c->packed;
    c->ends[1] = (to = put_planes(to, t.codes, n)) - c->packed;

    for (int64_t k = 0; k < c->n_listed; k++)
        t.codes[k] = c->sources[c->listed[k]];
    gather(&t, t.codes, c->n_listed);
    c->ends[2] = (to = put_table(&t, to, c->n_listed, 2)) - c->packed;
    c->ends[3] = (to = put_planes(to, t.codes, c->n_listed)) - c->packed;

    code_creators(c, &t);
    c->ends[4] = (to = put_planes(to, t.codes, n)) - c->packed;

    if (!falls(c->scores, n))
        return 0;
    put_scores(c, t.codes, to, c->ends + 5);
    return 1;
}

/*
 * The table of values (n,), as numbers of `size` bytes, and their codes; `ends` (2,) says where each ends. The values
 * stand in `room` (5 n + n_slots,), the rest of which is to work in.
 */
PUBLIC void code_table(int64_t *room, int64_t n, int64_t n_slots, int64_t size, uint8_t *packed, int64_t *ends)
{
    table t = {room + n, room + 2 * n, room + 3 * n, room + 4 * n, room + 5 * n, 0, n_slots - 1};
    gather(&t, room, n);
    uint8_t *to = put_table(&t, packed, n, size);
    ends[0] = to - packed;
    ends[1] = put_planes(to, t.codes, n) - packed;
}

/*
 * Numbers (n,) below `radix` as bits: `n_joined` of them, the first the lowest, are one number of `width` bits, whose
 * lowest bit comes first. `packed` is zeros.
 */
PUBLIC void pack_bits(const int64_t *numbers, int64_t n, int64_t radix, int64_t n_joined, int64_t width,
                      uint8_t *packed)
{
    int64_t bit = 0;
    for (int64_t start = 0; start < n; start += n_joined) {
        uint64_t joined = 0;
        for (int64_t k = (start + n_joined < n ? start + n_joined : n) - 1; k >= start; k--)
            joined = joined * (uint64_t)radix + (uint64_t)numbers[k];
        for (int64_t k = 0; k < width; k++, bit++)
            packed[bit >> 3] |= (uint8_t)((joined >> k & 1) << (7 - (bit & 7)));
    }
}
