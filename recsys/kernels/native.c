/* What a library says of itself, and the trees of the ranker. */

#include "native.h"

#ifdef _WIN32
void *PyInit_native(void) { return 0; } /* what the linker of Windows asks for; nobody imports this as a module */
#endif

#define VERSION 13 /* raised with every change of these sources, together with recsys/kernels/__init__.py */

PUBLIC int32_t kernels_version(void) { return VERSION; }

enum { FEW = 64 }; /* thresholds that are compared one and all: four at once, and no branch to guess */

/* How many of `n` ascending thresholds are below `value`; n is a multiple of 4. */
static int64_t count_below(const float *thresholds, int64_t n, float value)
{
    if (n <= FEW) {
        int32_t below = 0;
        for (int64_t i = 0; i < n; i++)
            below += thresholds[i] < value;
        return below;
    }
    const float *from = thresholds;
    while (n > 0) {
        int64_t half = n / 2;
        int is_below = from[half] < value;
        from = is_below ? from + half + 1 : from;
        n = is_below ? n - half - 1 : half;
    }
    return from - thresholds;
}

static int lowest_bit(uint64_t mask)
{
#if defined(__GNUC__) || defined(__clang__)
    return __builtin_ctzll(mask);
#else
    int bit = 0;
    while (!(mask >> bit & 1))
        bit++;
    return bit;
#endif
}

#define N_TOGETHER 4 /* rows whose sums are taken side by side: a sum alone waits for each of its additions */
#define LANE_BYTES 16 /* masks of a row fill whole lanes, so that they are joined without a rest */

/*
 * The sum of all trees for each row of a matrix, see `recsys.models.tree_tables`.
 *
 * matrix (n_rows, n_columns); thresholds (starts[n_used],) ascending per used feature, filled up with infinity to a
 * multiple of 4; first (n_used,) where the masks (.., width) of a used feature begin: one per rank, then that of an
 * unknown value, then that of a zero; lengths (n_used,) the number of its thresholds; leaves (n_trees, bits); left
 * (N_TOGETHER, width) is room to work in; sums (n_rows,).
 */
typedef struct { /* the names are those of recsys/models/tree_tables.py */
    const float *thresholds;
    const int64_t *starts, *features, *first, *lengths;
    const void *masks;
    const double *leaves;
    int64_t n_used, n_trees, width;
} trees;

#define SUM_TREES(NAME, MASK)                                                                                          \
    PUBLIC void NAME(const trees *of, const float *matrix, int64_t n_rows, int64_t n_columns, MASK *left,              \
                     double *sums)                                                                                     \
    {                                                                                                                  \
        enum { LANES = LANE_BYTES / sizeof(MASK), BITS = 8 * sizeof(MASK) };                                           \
        const int64_t width = of->width;                                                                               \
        for (int64_t at = 0; at < n_rows; at += N_TOGETHER) {                                                          \
            int64_t n = n_rows - at < N_TOGETHER ? n_rows - at : N_TOGETHER;                                           \
            for (int64_t i = 0; i < N_TOGETHER * width; i++)                                                           \
                left[i] = (MASK)-1;                                                                                    \
            for (int64_t k = 0; k < n; k++) {                                                                          \
                const float *row = matrix + (at + k) * n_columns;                                                      \
                MASK *restrict own = left + k * width;                                                                 \
                for (int64_t j = 0; j < of->n_used; j++) {                                                             \
                    const float value = row[of->features[j]];                                                          \
                    const float *thresholds = of->thresholds + of->starts[j];                                          \
                    int64_t rank = count_below(thresholds, of->starts[j + 1] - of->starts[j], value);                  \
                    rank = value != value ? of->lengths[j] + 1 : rank;                                                 \
                    rank = fabsf(value) <= 1e-35f ? of->lengths[j] + 2 : rank;                                         \
                    const MASK *restrict mask = (const MASK *)of->masks + (of->first[j] + rank) * width;               \
                    for (int64_t lane = 0; lane < width; lane += LANES)                                                \
                        for (int i = 0; i < LANES; i++)                                                                \
                            own[lane + i] &= mask[lane + i];                                                           \
                }                                                                                                      \
            }                                                                                                          \
            double total[N_TOGETHER] = {0};                                                                            \
            for (int64_t t = 0; t < of->n_trees; t++)                                                                  \
                for (int k = 0; k < N_TOGETHER; k++)                                                                   \
                    total[k] += of->leaves[t * BITS + lowest_bit(left[k * width + t])];                                \
            for (int64_t k = 0; k < n; k++)                                                                            \
                sums[at + k] = total[k];                                                                               \
        }                                                                                                              \
    }

SUM_TREES(sum_trees_8, uint8_t)
SUM_TREES(sum_trees_16, uint16_t)
SUM_TREES(sum_trees_32, uint32_t)
SUM_TREES(sum_trees_64, uint64_t)
