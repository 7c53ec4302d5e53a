-- What a page, a batch of events and an erasure do, each in one step of the server and so in one round trip.
-- A person's writes take turns by a lock of their own; nothing here takes turns with other people.

CREATE OR REPLACE FUNCTION sanad.commit_time(_at bigint) RETURNS void LANGUAGE sql AS $$
    INSERT INTO sanad.written VALUES (pg_backend_pid(), _at)
    ON CONFLICT (backend) DO UPDATE SET at = excluded.at WHERE sanad.written.at < excluded.at
$$;

-- 1 = written, 0 = another version stands, 2 = the key was destroyed.
CREATE OR REPLACE FUNCTION sanad.write_state(
    _lock bigint, _owner bytea, _version bigint, _log_seq bigint, _number bytea,
    _person bytea, _safety bytea, _seen bytea, _interactions bytea
) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(_lock);
    IF EXISTS (SELECT FROM sanad.shreds WHERE number = _number) THEN
        RETURN 2;
    END IF;
    UPDATE sanad.people SET version = nextval('sanad.versions'), log_seq = _log_seq, person = _person,
        safety = _safety, seen = _seen, interactions = _interactions, stone = NULL, erased_at = NULL
    WHERE owner = _owner AND version = _version;
    IF NOT FOUND THEN
        IF _version <> 0 THEN
            RETURN 0;
        END IF;
        INSERT INTO sanad.people (owner, version, log_seq, person, safety, seen, interactions)
        VALUES (_owner, nextval('sanad.versions'), _log_seq, _person, _safety, _seen, _interactions)
        ON CONFLICT (owner) DO NOTHING;
        IF NOT FOUND THEN
            RETURN 0;
        END IF;
    END IF;
    RETURN 1;
END
$$;

CREATE OR REPLACE FUNCTION sanad.write_page(
    _lock bigint, _owner bytea, _version bigint, _log_seq bigint, _number bytea,
    _person bytea, _safety bytea, _seen bytea, _interactions bytea,
    _at bigint, _delivered_at bigint, _n int, _delivered bytea, _request bytea, _answer bytea, _counts jsonb
) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    outcome int;
BEGIN
    outcome := sanad.write_state(
        _lock, _owner, _version, _log_seq, _number, _person, _safety, _seen, _interactions);
    IF outcome <> 1 THEN
        RETURN outcome;
    END IF;
    IF _delivered IS NOT NULL THEN
        INSERT INTO sanad.deliveries (seq, owner, at, n, sealed)
        VALUES (nextval('sanad.places'), _owner, _delivered_at, _n, _delivered);
    END IF;
    DELETE FROM sanad.decisions WHERE owner = _owner AND request = _request;
    INSERT INTO sanad.decisions (seq, owner, request, at, sealed)
    VALUES (nextval('sanad.places'), _owner, _request, _at, _answer);
    IF _counts IS NOT NULL THEN
        INSERT INTO sanad.outbox (counts) VALUES (_counts);
    END IF;
    PERFORM sanad.commit_time(_at);
    RETURN 1;
END
$$;

-- How many events were new; -1 = a key was destroyed. Within a transaction places follow the order of the batch; a
-- number of its transaction before them keeps places of transactions apart that end in another order than they began.
CREATE OR REPLACE FUNCTION sanad.append(
    _locks bigint[], _numbers bytea[], _owners bytea[], _events bytea[], _sealed bytea[], _at bigint
) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    person bigint;
    oldest bigint;
    ahead bigint;
    n int;
BEGIN
    FOREACH person IN ARRAY _locks LOOP
        PERFORM pg_advisory_xact_lock(person);
    END LOOP;
    IF EXISTS (SELECT FROM sanad.shreds WHERE number = ANY (_numbers)) THEN
        RETURN -1;
    END IF;
    SELECT events_since, places_ahead INTO oldest, ahead FROM sanad.meta;
    INSERT INTO sanad.events (owner, event, seq, place, received_at, sealed)
    SELECT fresh.owner, fresh.event, nextval('sanad.places'),
        ((pg_current_xact_id()::text::bigint + ahead) << 20) + fresh.n, _at, fresh.sealed
    FROM (
        SELECT given.owner, given.event, given.sealed, given.n
        FROM unnest(_owners, _events, _sealed) WITH ORDINALITY AS given (owner, event, sealed, n)
        WHERE NOT EXISTS (
            SELECT FROM sanad.events e
            WHERE e.owner = given.owner AND e.event = given.event AND e.received_at >= oldest)
        ORDER BY given.n OFFSET 0
    ) AS fresh;
    GET DIAGNOSTICS n = ROW_COUNT;
    PERFORM sanad.commit_time(_at);
    RETURN n;
END
$$;

-- Rows deleted per table; no row = the person is at another version, or an event came since.
CREATE OR REPLACE FUNCTION sanad.erase(
    _lock bigint, _owner bytea, _at bigint, _stone bytea, _version bigint, _log_seq bigint, _number bytea,
    _who text, _what text
) RETURNS TABLE (n_users bigint, n_deliveries bigint, n_decisions bigint, n_events bigint)
LANGUAGE plpgsql AS $$
DECLARE
    found bigint;
    last bigint;
    kept sanad.meta%ROWTYPE;
BEGIN
    PERFORM pg_advisory_xact_lock(_lock);
    SELECT version INTO found FROM sanad.people WHERE owner = _owner;
    SELECT max(seq) INTO last FROM sanad.events WHERE owner = _owner;
    IF coalesce(found, 0) <> coalesce(_version, found, 0) OR coalesce(last, 0) > coalesce(_log_seq, last, 0) THEN
        RETURN;
    END IF;
    SELECT * INTO kept FROM sanad.meta;
    WITH gone AS (DELETE FROM sanad.deliveries WHERE owner = _owner RETURNING n, at)
    SELECT coalesce(sum(n) FILTER (WHERE at >= kept.deliveries_since), 0) INTO n_deliveries FROM gone;
    WITH gone AS (DELETE FROM sanad.decisions WHERE owner = _owner RETURNING at)
    SELECT count(*) FILTER (WHERE at >= kept.decisions_since) INTO n_decisions FROM gone;
    WITH gone AS (DELETE FROM sanad.events WHERE owner = _owner RETURNING received_at)
    SELECT count(*) FILTER (WHERE received_at >= kept.events_since) INTO n_events FROM gone;
    WITH gone AS (DELETE FROM sanad.people WHERE owner = _owner RETURNING person)
    SELECT count(person) INTO n_users FROM gone;
    IF _stone IS NOT NULL THEN
        INSERT INTO sanad.people (owner, version, log_seq, stone, erased_at)
        VALUES (_owner, nextval('sanad.versions'), 0, _stone, _at);
    END IF;
    IF _number IS NOT NULL THEN
        INSERT INTO sanad.shreds VALUES (_number, _at, false) ON CONFLICT (number) DO NOTHING;
    END IF;
    INSERT INTO sanad.forgotten VALUES (_owner, _at)
    ON CONFLICT (key) DO UPDATE SET before = greatest(sanad.forgotten.before, excluded.before);
    IF _what IS NOT NULL THEN
        LOCK TABLE sanad.audit IN SHARE ROW EXCLUSIVE MODE;
        INSERT INTO sanad.audit (at, who, what) VALUES (_at, _who, _what);
        PERFORM sanad.commit_time(_at);
    END IF;
    RETURN NEXT;
END
$$;
