/* What a library says of itself, and the trees of the ranker. */

#include "native.h"

#ifdef _WIN32
void *PyInit_native(void) { return 0; } /* what the linker of Windows asks for; nobody imports this as a module */
#endif

#define VERSION 7 /* raised with every change of a signature, together with recsys/kernels/__init__.py */

PUBLIC int32_t kernels_version(void) { return VERSION; }

/* How many of `n` ascending thresholds are below `value`. */
static int64_t count_below(const double *thresholds, int64_t n, double value)
{
    const double *from = thresholds;
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

/*
 * The sum of all trees for each row of a matrix, see `recsys.models.tree_tables`.
 *
 * matrix (n_rows, n_columns); thresholds (starts[n_used],) ascending per used feature; masks (.., n_trees): for used
 * feature j they begin at row starts[j] + 3 j, one per rank, then that of an unknown value, then that of a zero;
 * leaves (n_trees, width); left (N_TOGETHER, n_trees) is room to work in; sums (n_rows,).
 */
#define SUM_TREES(NAME, MASK)                                                                                          \
    PUBLIC void NAME(const float *matrix, int64_t n_rows, int64_t n_columns, const double *thresholds,                 \
                     const int64_t *starts, const int64_t *features, int64_t n_used, const MASK *masks,                \
                     const double *leaves, int64_t n_trees, MASK *left, double *sums)                                  \
    {                                                                                                                  \
        const int64_t width = 8 * (int64_t)sizeof(MASK);                                                               \
        for (int64_t first = 0; first < n_rows; first += N_TOGETHER) {                                                 \
            int64_t n = n_rows - first < N_TOGETHER ? n_rows - first : N_TOGETHER;                                     \
            for (int64_t i = 0; i < N_TOGETHER * n_trees; i++)                                                         \
                left[i] = (MASK)-1;                                                                                    \
            for (int64_t k = 0; k < n; k++) {                                                                          \
                const float *row = matrix + (first + k) * n_columns;                                                   \
                MASK *own = left + k * n_trees;                                                                        \
                for (int64_t j = 0; j < n_used; j++) {                                                                 \
                    const double value = row[features[j]];                                                             \
                    const int64_t length = starts[j + 1] - starts[j];                                                  \
                    int64_t rank = value != value ? length + 1                                                         \
                                   : fabs(value) <= 1e-35f ? length + 2                                                \
                                                          : count_below(thresholds + starts[j], length, value);        \
                    const MASK *mask = masks + (starts[j] + 3 * j + rank) * n_trees;                                   \
                    for (int64_t t = 0; t < n_trees; t++)                                                              \
                        own[t] &= mask[t];                                                                             \
                }                                                                                                      \
            }                                                                                                          \
            double total[N_TOGETHER] = {0};                                                                            \
            for (int64_t t = 0; t < n_trees; t++)                                                                      \
                for (int k = 0; k < N_TOGETHER; k++)                                                                   \
                    total[k] += leaves[t * width + lowest_bit(left[k * n_trees + t])];                                 \
            for (int64_t k = 0; k < n; k++)                                                                            \
                sums[first + k] = total[k];                                                                            \
        }                                                                                                              \
    }

SUM_TREES(sum_trees_8, uint8_t)
SUM_TREES(sum_trees_16, uint16_t)
SUM_TREES(sum_trees_32, uint32_t)
SUM_TREES(sum_trees_64, uint64_t)
