/* The order of a page's candidates by their score. The references are in `recsys/feed/scorers.py`. */

#include "native.h"
#include <string.h>

void language_bonus(const float *scores, const int64_t *order, const int64_t *languages, int64_t n,
                    const double *wanted, int64_t n_languages, double weight, int64_t depth, double step,
                    int64_t *heads, int64_t *counts, double *deficits, float *bonus); /* in ranking.c */

typedef struct { /* the names are those of recsys/feed/compiled_order.py */
    const float *parts;       /* (n_parts, n) of the score */
    const float *weights;     /* (n_parts,) */
    const int8_t *tier;       /* (n,), as the next ones are */
    const int32_t *item_nos;
    const int16_t *language;  /* a code */
    const float *confidence;
    const int64_t *column_of; /* by code of a language: of `wanted`, or below 0 */
    const double *wanted;     /* (n_languages,) shares of the page */
    float *scores;            /* (2, n) the results: scores, and the bonus of languages */
    int64_t *order;           /* (n,) likewise; behind it there is room (6 n + 3 n_languages,) to work in */
    int64_t n, n_parts, n_languages, depth;
    double weight, step, percent; /* `weight` of the bonus, 0 = the page is not calibrated */
    float *bonus;                 /* where they are, worked out */
    int64_t *room;
} page_order;

/* An unknown part adds nothing, an infinite one as much as a number can. */
static float known(float value)
{
    const float most = 3.40282347e+38f;
    return value != value ? 0 : value > most ? most : value < -most ? -most : value;
}

static void add_part(float *total, float weight, const float *part, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        total[i] += weight * known(part[i]);
}

/* Numbers that stand in the order of floats; the two zeros are one. */
static uint32_t rising(float value)
{
    uint32_t bits;
    value = value == 0 ? 0 : value;
    memcpy(&bits, &value, sizeof bits);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

enum { N_DIGITS = 4, N_VALUES = 256 };

/* Rows by rising keys (by row); equal ones stay as they are. Digit by digit, the lowest first; `room` is for n rows. */
static void sort(const uint32_t *keys, int64_t *rows, int64_t n, int64_t *room)
{
    int32_t starts[N_DIGITS][N_VALUES] = {{0}};
    for (int64_t i = 0; i < n; i++)
        for (int digit = 0; digit < N_DIGITS; digit++)
            starts[digit][keys[rows[i]] >> 8 * digit & 0xff]++;
    for (int digit = 0; digit < N_DIGITS; digit++) {
        int32_t *const start = starts[digit], sum = 0;
        if (n && start[keys[rows[0]] >> 8 * digit & 0xff] == n)
            continue; /* all are the same */
        for (int value = 0; value < N_VALUES; value++) {
            const int32_t count = start[value];
            start[value] = sum;
            sum += count;
        }
        for (int64_t i = 0; i < n; i++)
            room[start[keys[rows[i]] >> 8 * digit & 0xff]++] = rows[i];
        memcpy(rows, room, (size_t)n * sizeof *rows);
    }
}

static int is_finite(float value) { return value - value == 0; }

/* Adds to the scores what calibrates the page to languages. Returns 0 when one of them is not finite. */
static int calibrate(const page_order *p)
{
    const int64_t n = p->n;
    int64_t *rows = p->room, *order = rows + n, *columns = order + n, *sorting = columns + n, m = 0;
    float *scores = (float *)(sorting + n), *bonus = scores + n; /* of the m rows that take part */
    uint32_t *falling = (uint32_t *)(bonus + n);
    int64_t *heads = p->room + 6 * n, *counts = heads + p->n_languages;
    double *deficits = (double *)(counts + p->n_languages);
    for (int64_t i = 0; i < n; i++) {
        const int64_t column = p->column_of[p->language[i]];
        p->bonus[i] = 0;
        if (column < 0 || p->tier[i] >= 2)
            continue;
        if (!is_finite(p->scores[i]))
            return 0;
        rows[m] = i;
        columns[m] = column;
        order[m] = m;
        falling[m] = ~rising(p->scores[i]);
        scores[m++] = p->scores[i];
    }
    if (p->weight == 0 || m == 0)
        return 1;
    sort(falling, order, m, sorting);
    language_bonus(scores, order, columns, m, p->wanted, p->n_languages, p->weight, p->depth, p->step, heads, counts,
                   deficits, bonus);
    double least = 0;
    for (int64_t k = 0; k < p->n_languages; k++)
        least = deficits[k] < least ? deficits[k] : least;
    for (int64_t j = 0; j < m; j++)
        p->bonus[rows[j]] = p->tier[rows[j]] == 1 && bonus[j] > (float)least ? (float)least : bonus[j];
    return 1;
}

/* The percentile of the scores of R0, between the two next to it; 0 where there are none. NaN when one is NaN. */
static float constant_of_r2(const page_order *p)
{
    int64_t *rows = p->room, m = 0;
    uint32_t *keys = (uint32_t *)(p->room + 2 * p->n);
    for (int64_t i = 0; i < p->n; i++)
        if (p->tier[i] == 0) {
            if (p->scores[i] != p->scores[i])
                return NAN;
            keys[i] = rising(p->scores[i]);
            rows[m++] = i;
        }
    if (!m)
        return 0;
    sort(keys, rows, m, rows + p->n);
    const double place = (double)(m - 1) * (p->percent / 100);
    const int64_t before = (int64_t)place, after = before + 1 < m ? before + 1 : m - 1;
    const double share = place - (double)before;
    const float low = p->scores[rows[before]], high = p->scores[rows[after]], step = high - low;
    return share >= 0.5 ? high - step * (float)(1 - share) : low + step * (float)share;
}

/*
 * Fills `scores`, `bonus` and `order`: the weighted sum of the parts, what calibrates to languages, R2 at its constant,
 * best first. Returns 0, with nothing that counts, when a score that is calibrated is not finite.
 */
PUBLIC int32_t order_page(page_order *p)
{
    const int64_t n = p->n;
    int has_r2 = 0;
    p->bonus = p->scores + n;
    p->room = p->order + n;
    memset(p->scores, 0, (size_t)n * sizeof *p->scores);
    for (int64_t k = 0; k < p->n_parts; k++)
        add_part(p->scores, p->weights[k], p->parts + k * n, n);
    if (!calibrate(p))
        return 0;
    add_part(p->scores, (float)p->weight, p->bonus, n);
    for (int64_t i = 0; i < n; i++)
        has_r2 |= p->tier[i] >= 2;
    const float constant = has_r2 ? constant_of_r2(p) : 0;
    uint32_t *falling = (uint32_t *)(p->room + 2 * n), *second = falling + n, *third = second + n;
    int is_ascending = 1;
    for (int64_t i = 0; i < n; i++) {
        const int is_r2 = p->tier[i] >= 2;
        const float score = is_r2 ? constant : p->scores[i];
        p->scores[i] = is_finite(score) ? score : -INFINITY;
        p->order[i] = i;
        falling[i] = ~rising(p->scores[i]);
        second[i] = rising(is_r2 ? -p->confidence[i] : 0);
        third[i] = (uint32_t)p->item_nos[i] ^ 0x80000000u;
        is_ascending &= i == 0 || p->item_nos[i - 1] <= p->item_nos[i];
    }
    if (!is_ascending)
        sort(third, p->order, n, p->room);
    if (has_r2)
        sort(second, p->order, n, p->room);
    sort(falling, p->order, n, p->room);
    return 1;
}

/*
 * One row per item of several lists, ascending, and where it stands in each. numbers (n,) list after list, of the given
 * lengths; distinct (n,) and ranks (n_lists, n) are the results: from 1 on, NaN where a list does not have it. keys (n,)
 * and room (2, n) to work in. Returns how many items there are.
 */
PUBLIC int64_t unite(const int32_t *numbers, const int64_t *lengths, int64_t n_lists, int64_t n, uint32_t *keys,
                     int64_t *room, int32_t *distinct, float *ranks)
{
    int64_t *places = room, found = 0;
    for (int64_t i = 0; i < n; i++) {
        keys[i] = (uint32_t)numbers[i] ^ 0x80000000u;
        places[i] = i;
    }
    sort(keys, places, n, room + n);
    for (int64_t i = 0; i < n_lists * n; i++)
        ranks[i] = NAN;
    for (int64_t i = 0; i < n; i++) {
        const int64_t place = places[i];
        int64_t list = 0, start = 0;
        while (place >= start + lengths[list])
            start += lengths[list++];
        if (!found || distinct[found - 1] != numbers[place])
            distinct[found++] = numbers[place];
        ranks[list * n + found - 1] = (float)(place - start + 1);
    }
    return found;
}
