-- Embeddings in the flow: new and changed text is queued by a trigger, and worker.py stores its embeddings.
--   psql -c 'CREATE EXTENSION vector_search' -f examples/worker/embeddings.sql
--   psql -c "SELECT embed.watch('articles', 'id', 'body')"
-- An embedding belongs to a text and a model, not to a row: equal texts of any table share one, and a text that was
-- embedded once is never embedded again, whatever happens to its rows.

CREATE SCHEMA embed;

CREATE TABLE embed.models (
    name text PRIMARY KEY,
    dimensions integer NOT NULL CHECK (dimensions BETWEEN 1 AND 16000),
    active boolean NOT NULL DEFAULT false  -- the model that queries use; others are being filled
);
CREATE UNIQUE INDEX one_active_model ON embed.models (active) WHERE active;

-- The content-hash store. `vector` has no dimensions here: each model has an index of its own.
CREATE TABLE embed.store (
    model text NOT NULL REFERENCES embed.models ON DELETE CASCADE,
    hash bytea NOT NULL,
    embedding vector NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model, hash)
);

-- Texts to embed: one row for each text and model, however many rows have it.
CREATE TABLE embed.queue (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model text NOT NULL REFERENCES embed.models ON DELETE CASCADE,
    hash bytea NOT NULL,
    body text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT now(),
    queued_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (model, hash)
);
CREATE INDEX queue_due ON embed.queue (model, due_at, id);

-- Texts that failed too often, with the last error. embed.retry() queues them again.
CREATE TABLE embed.dead (
    model text NOT NULL REFERENCES embed.models ON DELETE CASCADE,
    hash bytea NOT NULL,
    body text NOT NULL,
    error text NOT NULL,
    died_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model, hash)
);

-- Which texts the rows of the watched tables have now.
CREATE TABLE embed.texts (
    source regclass NOT NULL,
    key text NOT NULL,
    hash bytea NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (source, key)
);
CREATE INDEX texts_by_hash ON embed.texts (hash);

CREATE FUNCTION embed.hash(body text) RETURNS bytea LANGUAGE sql STABLE
    RETURN sha256(convert_to(body, 'UTF8'));

-- Queues a text for every model that lacks it. The store is asked first; a text that another transaction queues at
-- the same time is queued once.
CREATE FUNCTION embed.enqueue(body text) RETURNS void LANGUAGE sql BEGIN ATOMIC
    INSERT INTO embed.queue (model, hash, body)
    SELECT m.name, embed.hash(enqueue.body), enqueue.body FROM embed.models m
    WHERE NOT EXISTS (SELECT FROM embed.store s WHERE s.model = m.name AND s.hash = embed.hash(enqueue.body))
        AND NOT EXISTS (SELECT FROM embed.dead d WHERE d.model = m.name AND d.hash = embed.hash(enqueue.body))
    ON CONFLICT (model, hash) DO NOTHING;
END;

-- Of a watched table; its arguments are the columns of the key and of the text.
CREATE FUNCTION embed.changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    old_key text := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) ->> TG_ARGV[0] END;
    new_key text := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) ->> TG_ARGV[0] END;
    new_body text := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) ->> TG_ARGV[1] END;
BEGIN
    IF old_key IS DISTINCT FROM new_key OR coalesce(btrim(new_body), '') = '' THEN
        DELETE FROM embed.texts t WHERE t.source = TG_RELID AND t.key = old_key;
    END IF;
    IF coalesce(btrim(new_body), '') <> '' THEN
        INSERT INTO embed.texts VALUES (TG_RELID, new_key, embed.hash(new_body), new_body)
            ON CONFLICT (source, key) DO UPDATE SET hash = EXCLUDED.hash, body = EXCLUDED.body;
        PERFORM embed.enqueue(new_body);
        NOTIFY embed_queue;
    END IF;
    RETURN NULL;
END $$;

-- TRUNCATE calls no trigger for rows.
CREATE FUNCTION embed.emptied() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM embed.texts t WHERE t.source = TG_RELID;
    RETURN NULL;
END $$;

-- Watches a table, and queues what is in it. The lock keeps writers out, so that no row is missed between the two.
CREATE FUNCTION embed.watch(source regclass, key name, body name) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    rows bigint;
BEGIN
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', source);
    EXECUTE format('CREATE TRIGGER embed_changed AFTER INSERT OR DELETE OR UPDATE OF %I, %I ON %s FOR EACH ROW '
        'EXECUTE FUNCTION embed.changed(%L, %L)', key, body, source, key, body);
    EXECUTE format('CREATE TRIGGER embed_emptied AFTER TRUNCATE ON %s FOR EACH STATEMENT '
        'EXECUTE FUNCTION embed.emptied()', source);
    EXECUTE format('INSERT INTO embed.texts SELECT $1, t.%I::text, embed.hash(t.%I), t.%I FROM %s t '
        'WHERE coalesce(btrim(t.%I), '''') <> ''''', key, body, body, source, body) USING source;
    GET DIAGNOSTICS rows = ROW_COUNT;
    PERFORM embed.enqueue(t.body) FROM embed.texts t WHERE t.source = watch.source;
    NOTIFY embed_queue;
    RETURN rows;
END $$;

-- A new model: it gets an index and the texts of all rows. Queries go on with the active model until
-- embed.switch_model(). The lock keeps texts out that would be queued for the old models only.
CREATE FUNCTION embed.add_model(model text, dimensions integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE embed.texts IN SHARE ROW EXCLUSIVE MODE;
    INSERT INTO embed.models VALUES (model, dimensions, NOT EXISTS (SELECT FROM embed.models m WHERE m.active));
    EXECUTE format('CREATE INDEX %I ON embed.store USING ivf ((embedding::vector(%s)) vector_cosine_ops) '
        'WHERE model = %L', 'store_' || model, dimensions, model);
    PERFORM embed.enqueue(t.body) FROM embed.texts t;
    NOTIFY embed_queue;
END $$;

-- Refused while texts wait: nothing that was found before the switch may be missing after it.
CREATE FUNCTION embed.switch_model(model text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM embed.queue q WHERE q.model = switch_model.model) THEN
        RAISE EXCEPTION 'model "%" has texts in the queue', model USING HINT = 'Let the worker finish first.';
    END IF;
    UPDATE embed.models m SET active = false WHERE m.active;
    UPDATE embed.models m SET active = true WHERE m.name = switch_model.model;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no model "%"', model USING HINT = 'Call embed.add_model() first.';
    END IF;
END $$;

CREATE FUNCTION embed.retry() RETURNS void LANGUAGE sql BEGIN ATOMIC
    WITH again AS (DELETE FROM embed.dead d RETURNING d.model, d.hash, d.body)
    INSERT INTO embed.queue (model, hash, body) SELECT a.model, a.hash, a.body FROM again a
    ON CONFLICT (model, hash) DO NOTHING;
END;

-- The rows of the watched tables with their embeddings by the active model.
CREATE VIEW embed.current AS
    SELECT t.source, t.key, t.body, s.embedding FROM embed.texts t
    JOIN embed.models m ON m.active JOIN embed.store s ON s.model = m.name AND s.hash = t.hash;

CREATE VIEW embed.progress AS
    SELECT m.name AS model, m.active,
        (SELECT count(*) FROM embed.store s WHERE s.model = m.name) AS stored,
        (SELECT count(*) FROM embed.queue q WHERE q.model = m.name) AS waiting,
        (SELECT count(*) FROM embed.dead d WHERE d.model = m.name) AS dead,
        (SELECT now() - min(q.queued_at) FROM embed.queue q WHERE q.model = m.name) AS lag
    FROM embed.models m;
