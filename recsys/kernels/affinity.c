/* The best items by affinity. The reference is in `recsys/models/affinity_index.py`. */

#include "native.h"

typedef struct { /* the names are those of recsys/models/affinity_index.py */
    const float *features;   /* (n_items, width), words in the last n_words columns */
    const double *words;     /* (n_words,) the user's coefficients */
    const double *base;      /* (n_groups,) of the labels of a group */
    const int64_t *order;    /* (n_groups,) groups, the highest bound first */
    const double *moves;     /* (n_groups,) how much words add to an item of a group at most */
    const int64_t *starts;   /* (n_groups + 1,) */
    const int32_t *rows;     /* (n_items,) group by group, falling by what is expected */
    const float *expected;   /* (n_items,) of those rows */
    const float *lengths;    /* (n_items,) likewise */
    const uint8_t *allowed;  /* (n_items,) by row */
    double *scores;          /* (k,) a heap of the best so far, the worst on top */
    int64_t *best;           /* (k,) their rows, the result */
    int64_t n_groups, width, n_words, k;
    double length, slack; /* of `words`; what rounding may take off a bound */
} search;

/* Whether score a of row i stands behind score b of row j. */
static int is_worse(double a, int64_t i, double b, int64_t j) { return a < b || (a == b && i > j); }

static void put(search *s, int64_t at, double score, int64_t row)
{
    s->scores[at] = score;
    s->best[at] = row;
}

static void rise(search *s, int64_t at, double score, int64_t row)
{
    while (at > 0) {
        const int64_t above = (at - 1) / 2;
        if (!is_worse(score, row, s->scores[above], s->best[above]))
            break;
        put(s, at, s->scores[above], s->best[above]);
        at = above;
    }
    put(s, at, score, row);
}

static void sink(search *s, double score, int64_t row)
{
    int64_t at = 0;
    for (int64_t child; (child = 2 * at + 1) < s->k; at = child) {
        if (child + 1 < s->k && is_worse(s->scores[child + 1], s->best[child + 1], s->scores[child], s->best[child]))
            child++;
        if (!is_worse(s->scores[child], s->best[child], score, row))
            break;
        put(s, at, s->scores[child], s->best[child]);
    }
    put(s, at, score, row);
}

/* The score of a row: four sums side by side, as in the reference. */
static double score_of(const search *s, int64_t row, double known)
{
    const float *words = s->features + (row + 1) * s->width - s->n_words;
    double lanes[4] = {0};
    int64_t j = 0;
    for (; j + 4 <= s->n_words; j += 4)
        for (int lane = 0; lane < 4; lane++)
            lanes[lane] += (double)words[j + lane] * s->words[j + lane];
    for (; j < s->n_words; j++)
        lanes[j % 4] += (double)words[j] * s->words[j];
    return known + ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3]));
}

enum { WAITING = 16 }; /* rows whose words are fetched while others are scored: they stand anywhere in a large file */

typedef struct {
    int64_t rows[WAITING];
    double known[WAITING];
    int64_t n;
} waiting;

static void fetch(const search *s, int64_t row)
{
#if defined(__GNUC__) || defined(__clang__)
    const char *const end = (const char *)(s->features + (row + 1) * s->width);
    for (const char *at = end - s->n_words * (int64_t)sizeof(float); at < end; at += 64)
        __builtin_prefetch(at);
#else
    (void)s, (void)row;
#endif
}

/* Scores the rows that wait; the heap is the same in whatever order they come. */
static int64_t score_waiting(search *s, waiting *w, int64_t found)
{
    for (int64_t k = 0; k < w->n; k++) {
        const double score = score_of(s, w->rows[k], w->known[k]);
        if (found < s->k)
            rise(s, found++, score, w->rows[k]);
        else if (is_worse(s->scores[0], s->best[0], score, w->rows[k]))
            sink(s, score, w->rows[k]);
    }
    w->n = 0;
    return found;
}

/* Fills `best` with up to k rows, in no order. Returns how many there are. */
PUBLIC int64_t best_by_affinity(search *s)
{
    int64_t found = 0;
    waiting w = {.n = 0};
    for (int64_t n = 0; n < s->n_groups; n++) {
        const int64_t group = s->order[n];
        const double base = s->base[group], most = s->moves[group];
        if (found == s->k && base + (double)s->expected[s->starts[group]] + most < s->scores[0])
            break; /* nor does any group behind it hold a better one */
        for (int64_t i = s->starts[group]; i < s->starts[group + 1]; i++) {
            const int64_t row = s->rows[i];
            const double known = base + (double)s->expected[i];
            if (found == s->k && known + most < s->scores[0])
                break; /* the rest of the group is expected to get less */
            if (found == s->k && known + (double)s->lengths[i] * s->length + s->slack < s->scores[0])
                continue;
            if (!s->allowed[row])
                continue;
            fetch(s, row);
            w.rows[w.n] = row;
            w.known[w.n++] = known;
            if (w.n == WAITING)
                found = score_waiting(s, &w, found);
        }
        found = score_waiting(s, &w, found);
    }
    return found;
}
