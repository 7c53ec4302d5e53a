/* Features of the ranker and the best of many scores. The references are in `recsys/models/features.py`, `ranker.py`
 * and `recsys/models/best_rows.py`. */

#include "native.h"

enum { FIRST = 1, SPOKEN = 2, UNDERSTOOD = 4 }; /* what a language is to the user */

typedef struct { /* the names are those of recsys/models/compiled_features.py */
    const float *rates;          /* (n_items, n_rates) */
    const int64_t *published_at; /* (n_items,), as the next ones are */
    const float *duration;
    const int32_t *creator, *language, *country, *region;
    const float *topics;      /* (n_items, n_topics) */
    const int32_t *rows;      /* (n,) of the artifact */
    const float *spaces;      /* (n_spaces, n) scores */
    const float *popularity;  /* (n_popular,) */
    const uint8_t *languages; /* bits by code */
    const int32_t *history;   /* (n_history,) rows of the artifact */
    const float *weights;     /* (n_history,) the confidence of each */
    const float *of_topics;   /* (n,) liked confidence, summed over an item's topics */
    const float *affinity;    /* (n,) */
    const float *positions;   /* (n,), or none: all stand first */
    double *room;             /* zeros, for the liked confidence by creator, then by language */
    float *matrix;            /* (n, n_features), the result */
    int64_t n_rates, n_topics, n_creators, n, n_history, n_spaces, n_popular, n_features, at, own_country, own_region;
    float total, surprise, first_position;
} features;

PUBLIC void fill_features(const features *f)
{
    const double day = 86400000.0;
    double *const of_creator = f->room, *const of_language = f->room + f->n_creators;
    for (int64_t i = 0; i < f->n_history; i++) {
        of_creator[f->creator[f->history[i]]] += f->weights[i];
        of_language[f->language[f->history[i]]] += f->weights[i];
    }
    for (int64_t i = 0; i < f->n; i++) {
        const int64_t row = f->rows[i];
        float *out = f->matrix + i * f->n_features;
        for (int64_t s = 0; s < f->n_spaces; s++)
            *out++ = f->spaces[s * f->n + i];
        for (int64_t r = 0; r < f->n_rates; r++)
            *out++ = f->rates[row * f->n_rates + r];
        const int64_t age = f->at - f->published_at[row];
        *out++ = (float)((double)(age > 0 ? age : 0) / day);
        *out++ = f->duration[row];
        *out++ = row < f->n_popular ? f->popularity[row] : NAN;
        const uint8_t language = f->languages[f->language[row]];
        *out++ = (language & FIRST) != 0;
        *out++ = (language & SPOKEN) != 0;
        *out++ = (language & UNDERSTOOD) != 0;
        *out++ = f->country[row] == f->own_country;
        *out++ = f->region[row] == f->own_region;
        *out++ = (float)of_creator[f->creator[row]];
        float n_topics = 0;
        for (int64_t t = 0; t < f->n_topics; t++)
            n_topics += f->topics[row * f->n_topics + t];
        *out++ = f->of_topics[i] / (n_topics < 1 ? 1 : n_topics) / f->total;
        *out++ = (float)of_language[f->language[row]] / f->total;
        *out++ = f->affinity[i];
        *out++ = f->surprise;
        *out++ = f->positions ? f->positions[i] : f->first_position;
    }
}

/* Deviations from the mean of each feature (n_columns,), cut off at `most`; an unknown value counts as the mean. */
PUBLIC void standardise(const float *matrix, int64_t n_rows, int64_t n_columns, const float *mean,
                        const float *deviation, float most, float *scaled)
{
    for (int64_t i = 0; i < n_rows; i++)
        for (int64_t j = 0; j < n_columns; j++) {
            const float value = (matrix[i * n_columns + j] - mean[j]) / deviation[j];
            const float low = value < -most ? -most : value;
            const float cut = low > most ? most : low;
            scaled[i * n_columns + j] = value != value ? 0 : cut;
        }
}

/* Whether score a of column i stands behind score b of column j. */
static int is_worse(float a, int64_t i, float b, int64_t j) { return a < b || (a == b && i > j); }

static void sink(const float *scores, int64_t *heap, int64_t n, int64_t at)
{
    const int64_t moved = heap[at];
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && is_worse(scores[heap[child + 1]], heap[child + 1], scores[heap[child]], heap[child]))
            child++;
        if (!is_worse(scores[heap[child]], heap[child], scores[moved], moved))
            break;
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

/*
 * The k best of the scores (n,) that are allowed (n,) and no NaN, best first, equal ones by the smaller column. A heap
 * holds the best so far, the worst of them on top. Returns how many there are.
 */
PUBLIC int32_t best_allowed(const float *scores, const uint8_t *allowed, int64_t n, int64_t k, int64_t *best)
{
    int64_t found = 0, i = 0;
    for (; i < n && found < k; i++)
        if (allowed[i] && scores[i] == scores[i])
            best[found++] = i;
    for (int64_t at = found / 2; at-- > 0;)
        sink(scores, best, found, at);
    if (found && found == k)
        for (float worst = scores[best[0]]; i < n; i++)
            if (scores[i] > worst && allowed[i]) { /* an equal one has the larger column */
                best[0] = i;
                sink(scores, best, found, 0);
                worst = scores[best[0]];
            }
    for (int64_t last = found - 1; last > 0; last--) { /* the worst goes to the end */
        const int64_t worst = best[0];
        best[0] = best[last];
        best[last] = worst;
        sink(scores, best, last, 0);
    }
    return (int32_t)found;
}

/* The next place in the order, from `from` on, of a row in a language; n when there is none. */
static int64_t next_of(const int64_t *order, const int64_t *languages, int64_t n, int64_t from, int64_t language)
{
    while (from < n && languages[order[from]] != language)
        from++;
    return from;
}

/*
 * What calibrates a page of `depth` places to languages, see `recsys/feed/calibration.py`: bonus (n,) for scores (n,)
 * whose `order` (n,) is best first. languages (n,) are columns of `wanted` (n_languages,); `heads` and `deficits`
 * (n_languages,) are room to work in.
 */
PUBLIC void language_bonus(const float *scores, const int64_t *order, const int64_t *languages, int64_t n,
                           const double *wanted, int64_t n_languages, double weight, int64_t depth, double step,
                           int64_t *heads, int64_t *counts, double *deficits, float *bonus)
{
    double lowest = INFINITY;
    for (int64_t l = 0; l < n_languages; l++) {
        heads[l] = next_of(order, languages, n, 0, l);
        counts[l] = 0;
        deficits[l] = wanted[l];
    }
    for (int64_t place = 0; place < depth && place < n; place++) {
        double most = -INFINITY;
        int64_t best = 0;
        for (int64_t l = 0; l < n_languages; l++) {
            deficits[l] = wanted[l] - (double)counts[l] / (double)(place > 1 ? place : 1);
            const double value = heads[l] < n ? (double)scores[order[heads[l]]] + weight * deficits[l] : -INFINITY;
            if (value > most) {
                most = value;
                best = l;
            }
        }
        if (heads[best] >= n) /* no score is finite: see the caller */
            break;
        lowest = lowest - step < most ? lowest - step : most;
        const int64_t row = order[heads[best]];
        bonus[row] = (float)((lowest - (double)scores[row]) / weight);
        heads[best] = next_of(order, languages, n, heads[best] + 1, best);
        counts[best]++;
    }
    for (int64_t k = 0; k < n; k++) {
        const int64_t row = order[k], l = languages[row];
        if (k >= heads[l]) { /* not on the page */
            const double value = (double)scores[row] + weight * deficits[l], top = lowest - step;
            bonus[row] = (float)(((value < top ? value : top) - (double)scores[row]) / weight);
        }
    }
}
