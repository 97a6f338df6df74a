-- Embeddings in the flow: triggers queue new and changed texts, and worker.py stores their embeddings.
--   psql -c 'CREATE EXTENSION vector_search' -f examples/worker/embeddings.sql
--   psql -c "SELECT embed.add_model('minilm', 384)" -c "SELECT embed.watch('articles', 'id', 'body')"
-- An embedding belongs to a text and a model, not to a row. Equal texts of any table share one, and a text that was
-- embedded once is never embedded again, whatever happens to its rows.

CREATE SCHEMA embed;

CREATE TABLE embed.models (
    name text PRIMARY KEY CHECK (name <> ''),
    dimensions integer NOT NULL CHECK (dimensions BETWEEN 1 AND 16000),
    active boolean NOT NULL DEFAULT false  -- the model that queries use; others are being filled
);
CREATE UNIQUE INDEX one_active_model ON embed.models (active) WHERE active;

-- The store of embeddings, with the hash of the text as key. `vector` has no dimensions here: each model has
-- an index of its own.
CREATE TABLE embed.store (
    model text NOT NULL REFERENCES embed.models ON DELETE CASCADE,
    hash bytea NOT NULL,
    embedding vector NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (model, hash)
);

-- Texts to embed. Not unique: a unique index would make writers of equal texts wait for each other, and deadlock.
-- The worker takes equal texts together.
CREATE TABLE embed.queue (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model text NOT NULL REFERENCES embed.models ON DELETE CASCADE,
    hash bytea NOT NULL,
    body text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    queued_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX queue_due ON embed.queue (model, due_at, id);
CREATE INDEX queue_by_hash ON embed.queue (hash, model);

-- Dead letters: texts that failed too often, with the last error. embed.retry() queues them again.
CREATE TABLE embed.dead (
    model text NOT NULL REFERENCES embed.models ON DELETE CASCADE,
    hash bytea NOT NULL,
    body text NOT NULL,
    error text NOT NULL,
    died_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model, hash)
);

-- The texts that the rows of the watched tables have now.
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

CREATE FUNCTION embed.blank(body text) RETURNS boolean LANGUAGE sql IMMUTABLE
    RETURN body IS NULL OR body !~ '\S';

-- The trigger of a watched table; its arguments are the columns of the key and of the text. It runs with the
-- rights of the schema's owner, so that writers of the table need no rights in this schema.
CREATE FUNCTION embed.changed() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old_key text := to_jsonb(OLD) ->> TG_ARGV[0];
    new_key text := to_jsonb(NEW) ->> TG_ARGV[0];
    new_body text := to_jsonb(NEW) ->> TG_ARGV[1];
    new_hash bytea;
    taken boolean := false;
BEGIN
    IF old_key <> new_key THEN  -- another row may have this key by now: UPDATE ... SET id = id + 1
        EXECUTE format('SELECT EXISTS (SELECT FROM %s t WHERE t.%2$I = $1.%2$I)', TG_RELID::regclass, TG_ARGV[0])
            INTO taken USING OLD;
    END IF;
    IF new_key IS NULL OR old_key <> new_key AND NOT taken THEN
        DELETE FROM embed.texts t WHERE t.source = TG_RELID AND t.key = old_key;
    END IF;
    IF embed.blank(new_body) THEN
        DELETE FROM embed.texts t WHERE t.source = TG_RELID AND t.key = new_key;
    ELSE
        new_hash := embed.hash(new_body);
        INSERT INTO embed.texts VALUES (TG_RELID, new_key, new_hash, new_body)
            ON CONFLICT (source, key) DO UPDATE SET hash = EXCLUDED.hash, body = EXCLUDED.body;
        INSERT INTO embed.queue (model, hash, body)
            SELECT m.name, new_hash, new_body FROM embed.models m
            WHERE NOT EXISTS (SELECT FROM embed.store s WHERE s.model = m.name AND s.hash = new_hash)
                AND NOT EXISTS (SELECT FROM embed.queue q WHERE q.model = m.name AND q.hash = new_hash)
                AND NOT EXISTS (SELECT FROM embed.dead d WHERE d.model = m.name AND d.hash = new_hash);
        IF FOUND THEN
            NOTIFY embed_queue;
        END IF;
    END IF;
    RETURN NULL;
END $$;

-- TRUNCATE calls no trigger for rows.
CREATE FUNCTION embed.emptied() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM embed.texts t WHERE t.source = TG_RELID;
    RETURN NULL;
END $$;

-- Queues the texts that a model lacks. add_model() and watch() call it, and each worker when it starts.
CREATE FUNCTION embed.queue_missing(of_model text DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    queued bigint;
BEGIN
    INSERT INTO embed.queue (model, hash, body)
        SELECT DISTINCT ON (m.name, t.hash) m.name, t.hash, t.body FROM embed.models m, embed.texts t
        WHERE m.name = coalesce(of_model, m.name)
            AND NOT EXISTS (SELECT FROM embed.store s WHERE s.model = m.name AND s.hash = t.hash)
            AND NOT EXISTS (SELECT FROM embed.queue q WHERE q.model = m.name AND q.hash = t.hash)
            AND NOT EXISTS (SELECT FROM embed.dead d WHERE d.model = m.name AND d.hash = t.hash);
    GET DIAGNOSTICS queued = ROW_COUNT;
    NOTIFY embed_queue;
    RETURN queued;
END $$;

-- Watches a table, and queues the texts in it. The lock excludes writers, so that no row is missed between
-- creating the trigger and reading the table.
CREATE FUNCTION embed.watch(source regclass, key name, body name) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT c.relkind <> 'r' FROM pg_class c WHERE c.oid = source) THEN
        RAISE EXCEPTION '"%" is not an ordinary table', source USING HINT = 'Watch the partitions, each by itself.';
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = source AND a.attname = key AND a.attnotnull
            AND i.indisunique AND i.indimmediate AND i.indnkeyatts = 1 AND i.indpred IS NULL)
    THEN
        RAISE EXCEPTION 'column "%" of "%" does not identify a row', key, source
            USING HINT = 'It must be NOT NULL and have a unique index of its own, such as a primary key.';
    END IF;
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', source);
    EXECUTE format('CREATE TRIGGER embed_rows AFTER INSERT OR DELETE ON %s FOR EACH ROW '
        'EXECUTE FUNCTION embed.changed(%L, %L)', source, key, body);
    EXECUTE format('CREATE TRIGGER embed_updates AFTER UPDATE ON %s FOR EACH ROW '
        'WHEN (OLD.%2$I IS DISTINCT FROM NEW.%2$I OR OLD.%3$I IS DISTINCT FROM NEW.%3$I) '
        'EXECUTE FUNCTION embed.changed(%2$L, %3$L)', source, key, body);
    EXECUTE format('CREATE TRIGGER embed_emptied AFTER TRUNCATE ON %s FOR EACH STATEMENT '
        'EXECUTE FUNCTION embed.emptied()', source);
    -- Writes keys and texts in the same form as the trigger.
    EXECUTE format('INSERT INTO embed.texts SELECT $1, n.key, embed.hash(n.body), n.body FROM '
        '(SELECT to_jsonb(t.%I) #>> ''{}'', to_jsonb(t.%I) #>> ''{}'' FROM %s t) n(key, body) '
        'WHERE NOT embed.blank(n.body)', key, body, source) USING source;
    RETURN embed.queue_missing();
END $$;

-- Embeddings of its texts remain in the store.
CREATE FUNCTION embed.unwatch(source regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DROP TRIGGER embed_rows ON %s', source);
    EXECUTE format('DROP TRIGGER embed_updates ON %s', source);
    EXECUTE format('DROP TRIGGER embed_emptied ON %s', source);
    DELETE FROM embed.texts t WHERE t.source = unwatch.source;
END $$;

-- Adds a model: creates its index, and queues the texts of all rows for it. Queries use the active model
-- until embed.switch_model(). The lock excludes writers, whose texts would be queued for the old models only.
CREATE FUNCTION embed.add_model(model text, dimensions integer) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE embed.texts IN SHARE ROW EXCLUSIVE MODE;
    INSERT INTO embed.models VALUES (model, dimensions, NOT EXISTS (SELECT FROM embed.models m WHERE m.active));
    EXECUTE format('CREATE INDEX %I ON embed.store USING ivf ((embedding::vector(%s)) vector_cosine_ops) '
        'WHERE model = %L', 'store_' || model, dimensions, model);
    RETURN embed.queue_missing(model);
END $$;

-- Makes a model the active one. This is refused while the model lacks the embedding of a text, so that no row
-- that was found before the switch is missing after it.
CREATE FUNCTION embed.switch_model(model text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    lacking bigint := (SELECT count(DISTINCT t.hash) FROM embed.texts t
        WHERE NOT EXISTS (SELECT FROM embed.store s WHERE s.model = switch_model.model AND s.hash = t.hash)
            AND NOT EXISTS (SELECT FROM embed.dead d WHERE d.model = switch_model.model AND d.hash = t.hash));
BEGIN
    IF NOT EXISTS (SELECT FROM embed.models m WHERE m.name = model) THEN
        RAISE EXCEPTION 'there is no model "%"', model USING HINT = 'Call embed.add_model() first.';
    ELSIF lacking > 0 THEN
        RAISE EXCEPTION 'model "%" lacks the embeddings of % texts', model, lacking
            USING HINT = 'Let its worker finish first.';
    END IF;
    UPDATE embed.models m SET active = false WHERE m.active;
    UPDATE embed.models m SET active = true WHERE m.name = model;
END $$;

-- Removes a model with all its embeddings.
CREATE FUNCTION embed.drop_model(model text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT m.active FROM embed.models m WHERE m.name = model) THEN
        RAISE EXCEPTION 'model "%" is active', model USING HINT = 'Call embed.switch_model() with another one first.';
    END IF;
    EXECUTE format('DROP INDEX embed.%I', 'store_' || model);
    DELETE FROM embed.models m WHERE m.name = model;
END $$;

-- Queues dead letters again.
CREATE FUNCTION embed.retry() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    queued bigint;
BEGIN
    WITH again AS (DELETE FROM embed.dead d RETURNING d.model, d.hash, d.body)
    INSERT INTO embed.queue (model, hash, body) SELECT a.model, a.hash, a.body FROM again a;
    GET DIAGNOSTICS queued = ROW_COUNT;
    NOTIFY embed_queue;
    RETURN queued;
END $$;

-- The rows of the watched tables with their embeddings by the active model.
CREATE VIEW embed.current AS
    SELECT t.source, t.key, t.body, s.embedding FROM embed.texts t
    JOIN embed.models m ON m.active JOIN embed.store s ON s.model = m.name AND s.hash = t.hash;

-- The rows nearest to a question, by the model that embedded it. The model must be a constant of the
-- statement, because its index is a partial one.
CREATE FUNCTION embed.nearest(question vector, most integer DEFAULT 10, by_model text DEFAULT NULL)
RETURNS TABLE (source regclass, key text, body text, distance double precision) LANGUAGE plpgsql STABLE AS $$
DECLARE
    used embed.models := m FROM embed.models m
        WHERE CASE WHEN by_model IS NULL THEN m.active ELSE m.name = by_model END;
BEGIN
    RETURN QUERY EXECUTE format('SELECT t.source, t.key, t.body, s.embedding::vector(%1$s) <=> $1 '
        'FROM embed.store s JOIN embed.texts t ON t.hash = s.hash WHERE s.model = %2$L '
        'ORDER BY s.embedding::vector(%1$s) <=> $1 LIMIT $2', used.dimensions, used.name) USING question, most;
END $$;

CREATE VIEW embed.progress AS
    SELECT m.name AS model, m.active,
        (SELECT count(*) FROM embed.store s WHERE s.model = m.name) AS stored,
        (SELECT count(DISTINCT q.hash) FROM embed.queue q WHERE q.model = m.name) AS waiting,
        (SELECT count(*) FROM embed.dead d WHERE d.model = m.name) AS dead,
        (SELECT clock_timestamp() - min(q.queued_at) FROM embed.queue q WHERE q.model = m.name) AS lag
    FROM embed.models m;
