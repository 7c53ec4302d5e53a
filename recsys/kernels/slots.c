/*
 * The slot loop of a page. Its specification, word by word, is the loop in `recsys/feed/slate.py`, which runs where this
 * was not compiled; random pages hold the two equal (tests/recsys/feed/test_compiled_slots.py). The validator that checks
 * every page afterwards shares nothing with either.
 */

#include "native.h"

enum { RUN = 20, N_TIERS = 8, N_FAMILIES = 8, N_CODES = 512, MAX_COUNTERS = 4, UNKNOWN = -2 };
enum { TIER, FAMILY, IS_S4, IS_SUPPORTIVE, IS_LOCAL, CREATOR, HASH, CREATOR_TEXT, DURATION_TEXT, ARRIVAL, IS_HASHED,
       IS_EXPLORABLE, IS_NEW_CREATOR }; /* columns of the table */
enum { OPEN, CAP, GAP };                /* why a counter admits nothing */
enum { NONE, OTHER_FLOOR, NO_CANDIDATE, CREATOR_SPACING, LOST_BEFORE, DUPLICATE, FIRST_COUNTER }; /* reasons */

typedef struct { /* one counter: what its windows still admit, and where it last appeared; why is worked out */
    int64_t room, last_20, gap, is_risk_window, n_places, why;
} counter;

typedef struct { /* rows that add to the same counters and floors: order[first..first + n) */
    int64_t code, first, n, n_left, head, is_open;
} bucket;

typedef struct { /* everything of a page; the names are those of recsys/feed/compiled_slots.py */
    const int64_t *table;      /* (13, n_rows) */
    const int8_t *counters_of; /* (N_CODES, MAX_COUNTERS), -1 = no more, UNKNOWN = no such kind */
    int64_t *given;            /* what the pointers up to `hits` point into, one after the other */
    int64_t *results;          /* likewise, those from `rows` on: zeros */
    int64_t n_rows, n_counters, width, size, n_recent, n_hits, n_reasons, creator_cap, wanted_supportive, wanted_local;
    int64_t explore_slots, explore_from, n_local, n_new_creators;
    double new_creator_share;
    int64_t n_buckets, n_chosen, n_draw, n_explored, n_missed, refusals, best_left, floor; /* 0 at first */
    const int64_t *may_explore; /* (size,) */
    counter *counters;          /* (n_counters,) */
    int64_t *places;            /* (n_counters, width) ascending */
    int64_t *recent;            /* (n_recent + size,) creators, oldest first */
    int64_t *hits;              /* (2, n_hits + size) of the last deliveries, oldest first */
    int64_t *rows, *n_drawn, *forced; /* (size,) */
    int64_t *missed;                  /* (2 size, 2) floor and reason */
    int64_t *blocked;                 /* (n_reasons,) */
    int64_t *infeasible;              /* (2, size + RUN) room to work in, as all below */
    bucket *buckets;                  /* (N_CODES,) */
    int64_t *bucket_of, *order, *draw, *used; /* (n_rows,) */
} page;

/* Says where everything is in the two pieces that the caller made. */
static void lay_out(page *p)
{
    p->may_explore = p->given;
    p->counters = (counter *)(p->given + p->size);
    p->places = (int64_t *)(p->counters + p->n_counters);
    p->recent = p->places + p->n_counters * p->width;
    p->hits = p->recent + p->n_recent + p->size;
    p->rows = p->results;
    p->n_drawn = p->rows + p->size;
    p->forced = p->n_drawn + p->size;
    p->missed = p->forced + p->size;
    p->blocked = p->missed + 2 * 2 * p->size;
    p->infeasible = p->blocked + p->n_reasons;
    p->buckets = (bucket *)(p->infeasible + 2 * (p->size + RUN));
    p->bucket_of = (int64_t *)(p->buckets + N_CODES);
    p->order = p->bucket_of + p->n_rows;
    p->draw = p->order + p->n_rows;
    p->used = p->draw + p->n_rows;
}

static int64_t column(const page *p, int name, int64_t row) { return p->table[name * p->n_rows + row]; }

static int64_t code_of(const page *p, int64_t row)
{
    int64_t tier = column(p, TIER, row), family = tier >= 2 ? column(p, FAMILY, row) + 1 : 0;
    if (tier < 0 || tier >= N_TIERS || family < 0 || family >= N_FAMILIES)
        return UNKNOWN;
    return (((tier * N_FAMILIES + family) * 2 + column(p, IS_S4, row)) * 2 + column(p, IS_SUPPORTIVE, row)) * 2 +
           column(p, IS_LOCAL, row);
}

static int kind_of(const bucket *b) { return b->code & 3; } /* is_supportive and is_local: 3 is both */

static int is_of(int kind, int floor) { return floor == 0 ? kind >> 1 : kind & 1; }

/* Puts the rows into buckets. Returns 0 for a tier or family that there is not. */
PUBLIC int32_t open_page(page *p)
{
    int64_t counts[N_CODES] = {0}, number[N_CODES], at[N_CODES], first = 0;
    lay_out(p);
    for (int64_t row = 0; row < p->n_rows; row++) {
        int64_t code = code_of(p, row);
        if (code == UNKNOWN || p->counters_of[code * MAX_COUNTERS] == UNKNOWN)
            return 0;
        counts[code]++;
    }
    p->n_buckets = 0;
    for (int64_t code = 0; code < N_CODES; code++) {
        if (!counts[code])
            continue;
        number[code] = p->n_buckets;
        at[code] = first;
        p->buckets[p->n_buckets++] = (bucket){code, first, counts[code], counts[code], -1, 0};
        first += counts[code];
    }
    for (int64_t row = 0; row < p->n_rows; row++) {
        int64_t code = code_of(p, row);
        p->bucket_of[row] = number[code];
        p->order[at[code]++] = row;
    }
    return 1;
}

/* Of unlike rows: whether the first, on the page, binds the second. */
static int is_copy(const page *p, int64_t on_page, int64_t row)
{
    int64_t hash = column(p, HASH, row), text = column(p, CREATOR_TEXT, row), length = column(p, DURATION_TEXT, row);
    if ((hash && hash == column(p, HASH, on_page)) || (text && text == column(p, CREATOR_TEXT, on_page)))
        return 1;
    return length && length == column(p, DURATION_TEXT, on_page) &&
           !(column(p, IS_HASHED, row) && column(p, IS_HASHED, on_page)) &&
           column(p, ARRIVAL, on_page) < column(p, ARRIVAL, row);
}

static int is_bound(const page *p, int64_t row)
{
    if (!(column(p, HASH, row) | column(p, CREATOR_TEXT, row) | column(p, DURATION_TEXT, row)))
        return 0;
    for (int64_t n = 0; n < p->n_chosen; n++)
        if (is_copy(p, p->rows[n], row))
            return 1;
    return 0;
}

static int is_spaced(const page *p, int64_t row)
{
    int64_t often = 0, creator = column(p, CREATOR, row);
    for (int64_t n = p->n_recent < RUN - 1 ? 0 : p->n_recent - (RUN - 1); n < p->n_recent; n++)
        often += p->recent[n] == creator;
    return often < p->creator_cap && !is_bound(p, row);
}

static void refresh(page *p, int64_t place)
{
    for (int64_t n = 0; n < p->n_counters; n++) {
        counter *c = p->counters + n;
        const int64_t *places = p->places + n * p->width;
        c->why = OPEN;
        if (c->room <= 0)
            c->why = CAP;
        else if (c->n_places && places[c->n_places - 1] >= place - c->gap)
            c->why = GAP;
        else if (c->last_20 >= 0) {
            int64_t recent = 0;
            for (int64_t k = 0; k < c->n_places; k++)
                recent += places[k] > place - RUN;
            if (recent >= c->last_20)
                c->why = CAP;
        }
    }
}

/* The reason that closes a bucket: that of its first counter that admits nothing. */
static int64_t reason_of(const page *p, const bucket *b)
{
    const int8_t *own = p->counters_of + b->code * MAX_COUNTERS;
    for (int k = 0; k < MAX_COUNTERS && own[k] >= 0; k++)
        if (p->counters[own[k]].why)
            return FIRST_COUNTER + 2 * own[k] + (p->counters[own[k]].why == GAP);
    return NONE;
}

/* Opens the buckets that caps and spacing leave open, each with its best row. */
static void open_buckets(page *p, int64_t place)
{
    refresh(p, place);
    for (bucket *b = p->buckets; b < p->buckets + p->n_buckets; b++) {
        b->is_open = 0;
        if (reason_of(p, b))
            continue;
        for (int64_t k = b->first; k < b->first + b->n && !b->is_open; k++)
            if (!p->used[p->order[k]] && is_spaced(p, p->order[k])) {
                b->head = p->order[k];
                b->is_open = 1;
            }
    }
}

static void find_deficits(const page *p, int floor, int64_t *deficits)
{
    const int64_t wanted = floor == 0 ? p->wanted_supportive : p->wanted_local, n = p->n_hits + p->n_chosen;
    const int64_t *hits = p->hits + floor * (p->n_hits + p->size);
    int64_t sum = 0;
    for (int64_t m = 0; m < RUN; m++) { /* sum: hits among the last m deliveries */
        int64_t known = m <= n ? sum : wanted;
        deficits[RUN - 1 - m] = known < wanted ? wanted - known : 0;
        if (m < n)
            sum += hits[n - 1 - m];
    }
}

/* How many later slots a run needs after a choice of this kind. */
static int64_t slots_needed(int64_t supportive, int64_t local, int kind, int64_t n_both)
{
    if (supportive > 0)
        supportive -= is_of(kind, 0);
    if (local > 0)
        local -= is_of(kind, 1);
    int64_t shared = n_both - (kind == 3);
    shared = shared < supportive ? shared : supportive;
    shared = shared < local ? shared : local;
    return supportive + local - (shared > 0 ? shared : 0);
}

/* The kinds (a bit each) after which every run can be completed; is_lost[j] of those that none completes. */
static int find_feasible(const int64_t *supportive, const int64_t *local, int kinds, int64_t n_both, int *is_lost)
{
    int allowed = kinds, n_lost = 0;
    for (int j = 0; j < RUN; j++) {
        is_lost[j] = 0;
        if (supportive[j] + local[j] <= j)
            continue;
        int completing = 0;
        for (int kind = 0; kind < 4; kind++)
            if (kinds >> kind & 1 && slots_needed(supportive[j], local[j], kind, n_both) <= j)
                completing |= 1 << kind;
        if (completing)
            allowed &= completing;
        else
            is_lost[j] = ++n_lost;
    }
    return allowed ? allowed : kinds;
}

static int64_t why_infeasible(const page *p, int kinds, int floor)
{
    for (int kind = 0; kind < 4; kind++)
        if (kinds >> kind & 1 && is_of(kind, floor))
            return OTHER_FLOOR;
    int64_t reason = NO_CANDIDATE;
    for (const bucket *b = p->buckets; b < p->buckets + p->n_buckets; b++)
        if (is_of(kind_of(b), floor) && b->n_left) {
            reason = CREATOR_SPACING;
            if (reason_of(p, b))
                return reason_of(p, b);
        }
    return reason;
}

static void mark_infeasible(page *p, int floor, int kinds, const int *is_lost, const int64_t *deficits)
{
    const int64_t place = p->n_chosen, reason = why_infeasible(p, kinds, floor);
    int64_t *infeasible = p->infeasible + floor * (p->size + RUN) + place;
    for (int j = 0; j < RUN; j++)
        if (is_lost[j] && !infeasible[j])
            infeasible[j] = place == 0 && deficits[j] > j + 1 ? LOST_BEFORE : reason;
}

/* Closes the buckets from which an open run could not be completed; the floor that did is `floor`: 1 and 2, 0 = none. */
static void keep_within_floors(page *p)
{
    static const int64_t no_deficit[RUN] = {0};
    int64_t supportive[RUN], local[RUN], n_both = 0;
    int kinds = 0, is_lost[RUN];
    for (const bucket *b = p->buckets; b < p->buckets + p->n_buckets; b++)
        if (b->is_open) {
            kinds |= 1 << kind_of(b);
            n_both += kind_of(b) == 3 ? b->n_left : 0;
        }
    find_deficits(p, 0, supportive);
    find_deficits(p, 1, local);
    int first = find_feasible(supportive, no_deficit, kinds, n_both, is_lost);
    mark_infeasible(p, 0, kinds, is_lost, supportive);
    for (int j = 0; j < RUN; j++)
        supportive[j] = is_lost[j] ? 0 : supportive[j];
    int narrowed = find_feasible(supportive, local, first, n_both, is_lost);
    mark_infeasible(p, 1, kinds, is_lost, local);
    p->floor = narrowed != first ? 2 : first != kinds ? 1 : 0;
    for (bucket *b = p->buckets; b < p->buckets + p->n_buckets; b++)
        b->is_open = b->is_open && narrowed >> kind_of(b) & 1;
}

/* Whether the best row left was kept out by an R1 or R2 window above 0, and by nothing else. */
static int is_refusal(page *p, int64_t chosen)
{
    while (p->best_left < p->n_rows && (p->used[p->best_left] || is_bound(p, p->best_left)))
        p->best_left++;
    if (p->best_left >= p->n_rows || p->best_left == chosen)
        return 0;
    const bucket *b = p->buckets + p->bucket_of[p->best_left];
    const int8_t *own = p->counters_of + b->code * MAX_COUNTERS;
    int is_closed = 0;
    for (int k = 0; k < MAX_COUNTERS && own[k] >= 0; k++)
        if (p->counters[own[k]].why) {
            if (!p->counters[own[k]].is_risk_window)
                return 0;
            is_closed = 1;
        }
    return is_closed && is_spaced(p, p->best_left);
}

/* Fills `draw` with what an explored slot draws from, best first. */
static void find_explorable(page *p)
{
    int64_t n = 0, n_new = 0;
    for (int64_t row = 0; row < p->n_rows; row++)
        if (column(p, IS_EXPLORABLE, row) && !p->used[row] && p->buckets[p->bucket_of[row]].is_open &&
            is_spaced(p, row))
            p->draw[n++] = row;
    if (!(p->n_new_creators && (double)p->n_new_creators >= p->new_creator_share * (double)p->n_local)) {
        for (int64_t k = 0; k < n; k++)
            n_new += column(p, IS_NEW_CREATOR, p->draw[k]) != 0;
        for (int64_t k = 0, m = 0; n_new && k < n; k++)
            if (column(p, IS_NEW_CREATOR, p->draw[k]))
                p->draw[m++] = p->draw[k];
        n = n_new ? n_new : n;
    }
    p->n_draw = p->explore_from && p->explore_from < n ? p->explore_from : n;
}

static void deliver_to_floor(page *p, int floor, int is_hit)
{
    const int64_t place = p->n_chosen, n = p->n_hits + place + 1;
    const int64_t wanted = floor == 0 ? p->wanted_supportive : p->wanted_local;
    int64_t *hits = p->hits + floor * (p->n_hits + p->size);
    int64_t sum = 0, reason = p->infeasible[floor * (p->size + RUN) + place];
    hits[n - 1] = is_hit;
    for (int64_t k = n - RUN; k >= 0 && k < n; k++)
        sum += hits[k];
    if (n < RUN || sum >= wanted)
        return;
    p->missed[2 * p->n_missed] = floor;
    p->missed[2 * p->n_missed++ + 1] = reason ? reason : OTHER_FLOOR;
}

static void take(page *p, int64_t row, int64_t n_drawn)
{
    const int64_t place = p->n_chosen;
    bucket *b = p->buckets + p->bucket_of[row];
    const int8_t *own = p->counters_of + b->code * MAX_COUNTERS;
    for (int k = 0; k < MAX_COUNTERS && own[k] >= 0; k++) {
        counter *c = p->counters + own[k];
        c->room--;
        p->places[own[k] * p->width + c->n_places++] = place;
    }
    b->n_left--;
    p->used[row] = 1;
    p->recent[p->n_recent++] = column(p, CREATOR, row);
    p->n_local += kind_of(b) & 1;
    p->n_new_creators += column(p, IS_NEW_CREATOR, row) != 0;
    deliver_to_floor(p, 0, is_of(kind_of(b), 0));
    deliver_to_floor(p, 1, is_of(kind_of(b), 1));
    p->rows[place] = row;
    p->n_drawn[place] = n_drawn;
    p->forced[place] = p->floor;
    p->n_chosen++;
}

static void count_blocked(page *p)
{
    for (const bucket *b = p->buckets; b < p->buckets + p->n_buckets; b++)
        for (int64_t k = b->first; k < b->first + b->n; k++) {
            int64_t row = p->order[k], reason = reason_of(p, b);
            if (!p->used[row])
                p->blocked[reason ? reason : is_bound(p, row) ? DUPLICATE : CREATOR_SPACING]++;
        }
}

/*
 * Fills slots until the page ends (returns 0) or a slot is explored: then it returns how many rows the caller draws from,
 * and goes on when called again with the number that was drawn. `drawn` is below 0 in the first call.
 */
PUBLIC int64_t fill_slots(page *p, int64_t drawn)
{
    if (drawn >= 0) {
        take(p, p->draw[drawn], p->n_draw);
        p->n_explored++;
    }
    while (p->n_chosen < p->size) {
        int64_t row = -1;
        open_buckets(p, p->n_chosen);
        keep_within_floors(p);
        for (const bucket *b = p->buckets; b < p->buckets + p->n_buckets; b++)
            if (b->is_open && (row < 0 || b->head < row))
                row = b->head;
        p->refusals += is_refusal(p, row);
        if (row < 0) {
            count_blocked(p);
            return 0;
        }
        if (p->n_explored < p->explore_slots && p->may_explore[p->n_chosen]) {
            find_explorable(p);
            if (p->n_draw)
                return p->n_draw;
        }
        take(p, row, 0);
    }
    return 0;
}
