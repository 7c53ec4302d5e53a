/* What models read of a person. The references are `history_of` and `responses_of` in `recsys/feed/history.py`. */

#include "native.h"

typedef struct { /* the names are those of recsys/feed/compiled_history.py */
    const int32_t *trained; /* (n_trained,) rows of the artifact that training knows, oldest first */
    const float *trained_weights;
    const int64_t *trained_at;
    const int64_t *recent; /* numbers and times (n_recent,) of reactions since, then those (n_reported,) of what was seen */
    const float *recent_weights;
    const int32_t *row_of;         /* (n_items,) */
    const uint8_t *is_unlearnable; /* (n_rows,) */
    int32_t *rows;                 /* the history: (n_trained + n_recent,) */
    float *weights;
    int64_t *at;
    int32_t *shown; /* the responses: (n_trained + n_recent + n_reported,) */
    float *values;
    int64_t *room; /* (2 n_slots,) zeros; n_slots is a power of two, at least twice as many as there may be responses */
    int64_t n_trained, n_recent, n_reported, n_items, n_rows, n_slots, reset_at, n_history, n_responses;
    float watched; /* the confidence of a watch to the end */
} learned;

enum { MORE = 1, NEGATIVE = 2, REPORTED = 4, GIVEN = 8 };

typedef struct { /* what is known of one row; `row` is one more than it is, 0 = none */
    int64_t row;
    float most;
    int32_t flags;
} slot;

static slot *slot_of(const learned *l, int64_t row)
{
    slot *slots = (slot *)l->room;
    uint64_t at = ((uint64_t)row * 0x9E3779B97F4A7C15u) >> 32;
    while (slots[at & (l->n_slots - 1)].row && slots[at & (l->n_slots - 1)].row != row + 1)
        at++;
    slots[at & (l->n_slots - 1)].row = row + 1;
    return slots + (at & (l->n_slots - 1));
}

/* Adds a reaction, if it says anything: nothing positive comes from what is risk by now. */
static void react(learned *l, int64_t row, float weight, int64_t at)
{
    weight = l->is_unlearnable[row] && weight > 0 ? 0 : weight;
    if (weight == 0)
        return;
    l->rows[l->n_history] = (int32_t)row;
    l->weights[l->n_history] = weight;
    l->at[l->n_history++] = at;
    slot *s = slot_of(l, row);
    if (weight < 0)
        s->flags |= NEGATIVE;
    else if (weight > l->watched)
        s->flags |= MORE;
    else if (weight > s->most)
        s->most = weight;
}

/* Adds how much of a row was watched, once. */
static void respond(learned *l, int64_t row)
{
    slot *s = slot_of(l, row);
    if (l->is_unlearnable[row] || s->flags & GIVEN)
        return;
    s->flags |= GIVEN;
    l->shown[l->n_responses] = (int32_t)row;
    l->values[l->n_responses++] = s->flags & NEGATIVE ? 0 : s->flags & MORE && s->most == 0 ? 1 : s->most;
}

/* Fills the history and the responses. Returns 0, with nothing that counts, for a number or row that there is not. */
PUBLIC int32_t learn(learned *l)
{
    const int64_t *recent_at = l->recent + l->n_recent, *reported = recent_at + l->n_recent;
    const int64_t *reported_at = reported + l->n_reported;
    int64_t newest = l->reset_at;
    l->n_history = l->n_responses = 0;
    for (int64_t i = 0; i < l->n_trained; i++) {
        if (l->trained[i] < 0 || l->trained[i] >= l->n_rows)
            return 0;
        if (l->trained_at[i] <= l->reset_at)
            continue;
        newest = l->trained_at[i] > newest ? l->trained_at[i] : newest;
        react(l, l->trained[i], l->trained_weights[i], l->trained_at[i]);
    }
    for (int64_t i = 0; i < l->n_recent; i++) {
        const int64_t number = l->recent[i], row = number >= 0 && number < l->n_items ? l->row_of[number] : l->n_rows;
        if (row >= l->n_rows)
            return 0;
        if (row >= 0 && recent_at[i] > newest)
            react(l, row, l->recent_weights[i], recent_at[i]);
    }
    for (int pass = 0; pass < 2; pass++) { /* what was reported stands behind what nobody reported */
        for (int64_t i = 0; i < l->n_reported; i++) {
            if (reported_at[i] <= l->reset_at || reported[i] >= l->n_items)
                continue;
            if (reported[i] < 0 || l->row_of[reported[i]] >= l->n_rows)
                return 0;
            const int64_t row = l->row_of[reported[i]];
            if (row >= 0 && pass == 0)
                slot_of(l, row)->flags |= REPORTED;
            else if (row >= 0)
                respond(l, row);
        }
        for (int64_t i = 0; pass == 0 && i < l->n_history; i++)
            if (!(slot_of(l, l->rows[i])->flags & REPORTED))
                respond(l, l->rows[i]);
    }
    return 1;
}
