-- Semantic cache: a question asked before in other words gets its stored answer.
--   psql -c 'CREATE EXTENSION vector_search' -f examples/recipes/semantic_cache.sql
-- `-v dimensions=768` sets the dimensions of your model. After the first load: REINDEX SCHEMA cache.
\if :{?dimensions}
\else
    \set dimensions 384
\endif

CREATE SCHEMA cache;

-- One row. threshold: the largest cosine distance of a hit; cache.choose_threshold() proposes it.
CREATE TABLE cache.settings (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    threshold double precision NOT NULL DEFAULT 0.1 CHECK (threshold BETWEEN 0 AND 2),
    lifetime interval NOT NULL DEFAULT '7 days'
);
INSERT INTO cache.settings DEFAULT VALUES;

-- Questions that differ in case and white space only are the same question.
CREATE FUNCTION cache.normalised(question text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN lower(regexp_replace(btrim(question, E' \t\r\n'), '\s+', ' ', 'g'));

-- scope separates what must never share answers: tenants, users, languages, models.
CREATE TABLE cache.entries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope text NOT NULL DEFAULT '',
    question text NOT NULL CHECK (question <> ''),
    answer text NOT NULL,
    sources text[] NOT NULL DEFAULT '{}',
    saved_ms double precision NOT NULL DEFAULT 0 CHECK (saved_ms >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    embedding vector(:dimensions)
);
-- The hash keeps the B-tree small for long questions; lookups compare the text too, so a collision is no hit.
CREATE UNIQUE INDEX entries_exact ON cache.entries (scope, md5(cache.normalised(question)));
CREATE INDEX entries_near ON cache.entries USING ivf (embedding vector_cosine_ops, scope, expires_at);
CREATE INDEX entries_sources ON cache.entries USING gin (sources);
CREATE INDEX entries_expiry ON cache.entries (expires_at);

-- Sixteen rows for each outcome, so that lookups of different sessions rarely wait for each other. The table
-- is unlogged, so that lookups do not wait for the disk. After a crash of the server the counters begin at 0.
CREATE UNLOGGED TABLE cache.counters (
    slot integer, outcome text CHECK (outcome IN ('exact', 'near', 'miss')),
    lookups bigint NOT NULL DEFAULT 0, saved_ms double precision NOT NULL DEFAULT 0,
    PRIMARY KEY (slot, outcome)
) WITH (fillfactor = 50);

CREATE FUNCTION cache.count(outcome_counted text, ms double precision) RETURNS void LANGUAGE sql BEGIN ATOMIC
    INSERT INTO cache.counters AS c VALUES (pg_backend_pid() % 16, outcome_counted, 1, ms)
    ON CONFLICT (slot, outcome) DO UPDATE SET lookups = c.lookups + 1, saved_ms = c.saved_ms + EXCLUDED.saved_ms;
END;

-- Lookups that count nothing: for reports, and for read-only standbys.
CREATE FUNCTION cache.find_exact(asked text, in_scope text DEFAULT '') RETURNS SETOF cache.entries
LANGUAGE sql STABLE BEGIN ATOMIC
    SELECT e.* FROM cache.entries e
    WHERE e.scope = in_scope AND md5(cache.normalised(e.question)) = md5(cache.normalised(asked))
        AND cache.normalised(e.question) = cache.normalised(asked) AND e.expires_at > now();
END;

-- The nearest entry, if it is near enough; scope and expires_at are tested inside the index. The threshold is
-- outside of the ordered scan. Inside, a scan without enough near rows would read all lists that may be
-- within the threshold.
CREATE FUNCTION cache.find_near(asked vector, within double precision, in_scope text DEFAULT '')
RETURNS SETOF cache.entries LANGUAGE sql STABLE BEGIN ATOMIC
    SELECT (n.entry).* FROM (
        SELECT e AS entry, e.embedding <=> asked AS distance FROM cache.entries e
        WHERE e.scope = in_scope AND e.expires_at > now()
        ORDER BY e.embedding <=> asked LIMIT 1) n
    WHERE n.distance <= within;
END;

-- Step 1: needs no embedding. NULL: go on to step 2.
CREATE FUNCTION cache.get_exact(asked text, in_scope text DEFAULT '') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    found_entry cache.entries;
BEGIN
    SELECT * INTO found_entry FROM cache.find_exact(asked, in_scope);
    IF found_entry.id IS NOT NULL THEN
        PERFORM cache.count('exact', found_entry.saved_ms);
    END IF;
    RETURN found_entry.answer;
END $$;

-- Step 2: the nearest question within the threshold. NULL: compute the answer and call cache.put().
CREATE FUNCTION cache.get_near(asked vector, in_scope text DEFAULT '') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    found_entry cache.entries;
    within double precision := (SELECT s.threshold FROM cache.settings s);
BEGIN
    SELECT * INTO found_entry FROM cache.find_near(asked, within, in_scope);
    IF found_entry.id IS NULL THEN
        PERFORM cache.count('miss', 0);
    ELSE
        PERFORM cache.count('near', found_entry.saved_ms);
    END IF;
    RETURN found_entry.answer;
END $$;

-- Two sessions may compute the same answer at once: the later one replaces the earlier.
CREATE FUNCTION cache.put(asked text, asked_embedding vector, given_answer text, from_sources text[] DEFAULT '{}',
    took_ms double precision DEFAULT 0, in_scope text DEFAULT '', lives interval DEFAULT NULL) RETURNS bigint
LANGUAGE sql BEGIN ATOMIC
    INSERT INTO cache.entries (scope, question, answer, sources, saved_ms, expires_at, embedding)
    SELECT in_scope, asked, given_answer, from_sources, took_ms, now() + coalesce(lives, s.lifetime), asked_embedding
    FROM cache.settings s
    ON CONFLICT (scope, md5(cache.normalised(question))) DO UPDATE SET question = EXCLUDED.question,
        answer = EXCLUDED.answer, sources = EXCLUDED.sources, saved_ms = EXCLUDED.saved_ms, created_at = now(),
        expires_at = EXCLUDED.expires_at, embedding = EXCLUDED.embedding
    RETURNING id;
END;

-- Removes all answers that were made from a source, after it has changed.
CREATE FUNCTION cache.invalidate(source text) RETURNS bigint LANGUAGE sql BEGIN ATOMIC
    WITH gone AS (DELETE FROM cache.entries e WHERE e.sources @> ARRAY[source] RETURNING 1)
    SELECT count(*) FROM gone;
END;

-- Expired entries are never found; this removes them. Call it from time to time.
CREATE FUNCTION cache.remove_expired() RETURNS bigint LANGUAGE sql BEGIN ATOMIC
    WITH gone AS (DELETE FROM cache.entries e WHERE e.expires_at <= now() RETURNING 1)
    SELECT count(*) FROM gone;
END;

CREATE VIEW cache.statistics AS
    SELECT o.outcome, coalesce(sum(c.lookups), 0)::bigint AS lookups, coalesce(sum(c.saved_ms), 0) AS saved_ms
    FROM unnest(ARRAY['exact', 'near', 'miss']) o(outcome) LEFT JOIN cache.counters c USING (outcome)
    GROUP BY o.outcome;

-- Labelled lookups: a question, the nearest question in the cache at the time, and whether its answer was right.
CREATE TABLE cache.labelled (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    distance double precision NOT NULL,
    same boolean NOT NULL
);

-- The largest threshold at which, with 95 % confidence, at most `false_hits` of all lookups get a wrong
-- answer. The confidence is Wilson's upper bound, because a rate measured on few lookups proves little. Also
-- returns the shares among the labelled lookups. Rows with equal distance are either all within the threshold
-- or all outside.
CREATE FUNCTION cache.choose_threshold(false_hits double precision)
RETURNS TABLE (threshold double precision, hits double precision, false_hit_rate double precision)
LANGUAGE sql STABLE BEGIN ATOMIC
    WITH at_distance AS (
        SELECT l.distance, count(*) FILTER (WHERE l.same) OVER below AS right_answers,
            count(*) FILTER (WHERE NOT l.same) OVER below AS wrong_answers, count(*) OVER () AS lookups
        FROM cache.labelled l WINDOW below AS (ORDER BY l.distance)
    )
    SELECT a.distance, a.right_answers::float8 / a.lookups, a.wrong_answers::float8 / a.lookups
    FROM at_distance a
    WHERE (a.wrong_answers + 1.353 + 1.645 * sqrt(a.wrong_answers * (a.lookups - a.wrong_answers)::float8 / a.lookups
        + 0.676)) / (a.lookups + 2.706) <= false_hits
    ORDER BY a.distance DESC LIMIT 1;
END;
