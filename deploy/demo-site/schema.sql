-- The demo shop before the migration. Run as its owner; the site itself logs in as shop_app, which owns nothing.
\set ON_ERROR_STOP 1
BEGIN;

CREATE TABLE articles (
    id          integer PRIMARY KEY,
    title       text NOT NULL,
    description text NOT NULL,
    price       numeric(10, 2) NOT NULL
);

CREATE TABLE article_counters (
    article_id integer PRIMARY KEY REFERENCES articles,
    views      bigint NOT NULL DEFAULT 0,
    sold       bigint NOT NULL DEFAULT 0
);

-- `token` is made by the client. It is deliberately not UNIQUE: a statement that ran twice shall be seen.
CREATE TABLE comments (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    article_id integer NOT NULL REFERENCES articles,
    author     text NOT NULL,
    body       text NOT NULL,
    token      text NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX comments_article ON comments (article_id, id);

CREATE TABLE orders (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    article_id integer NOT NULL REFERENCES articles,
    quantity   integer NOT NULL,
    token      text NOT NULL,
    ordered_at timestamptz NOT NULL DEFAULT now()
);

-- Left over from an import years ago; the migration drops it.
CREATE TABLE legacy_import (line bigint PRIMARY KEY, raw text);

CREATE TABLE schema_migrations (name text PRIMARY KEY, xid xid8 NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());

INSERT INTO articles (id, title, description, price)
SELECT n,
       initcap(colour || ' ' || material || ' ' || thing),
       'A ' || colour || ' ' || thing || ' made of ' || material || ', as it should be. ' ||
           repeat('Made to be used every day, repaired when it breaks, and handed on. ', 6),
       round((5 + (n * 37 % 9000) / 100.0)::numeric, 2)
FROM generate_series(1, 20000) n,
     LATERAL (SELECT (ARRAY['red','blue','green','yellow','black','white','grey','brown','orange','violet'])[1 + n % 10] AS colour,
                     (ARRAY['oak','steel','linen','glass','wool','copper','clay','leather','paper','cork','birch'])[1 + n % 11] AS material,
                     (ARRAY['lamp','chair','kettle','basket','clock','mug','shelf','blanket','notebook','bowl','stool','vase','tray'])[1 + n % 13] AS thing) AS w;
INSERT INTO article_counters (article_id) SELECT id FROM articles;
INSERT INTO legacy_import SELECT n, repeat('x', 80) FROM generate_series(1, 5000) n;
INSERT INTO comments (article_id, author, body, token)
SELECT n, 'Ada', 'Better than I hoped. It came well packed, too.', 'seed-' || n FROM generate_series(1, 200) n;

-- The witness: every transaction that changes a table of the site leaves its id and its login role here, in the same
-- transaction. With track_commit_timestamp the server then knows when each was committed, whatever clients say.
CREATE SCHEMA witness;
CREATE TABLE witness.transactions (xid xid8 NOT NULL, role name NOT NULL);
CREATE FUNCTION witness.record() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO witness.transactions VALUES (pg_current_xact_id(), session_user);
    RETURN NULL;
END $$;
CREATE TRIGGER witness AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON articles FOR EACH STATEMENT EXECUTE FUNCTION witness.record();
CREATE TRIGGER witness AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON article_counters FOR EACH STATEMENT EXECUTE FUNCTION witness.record();
CREATE TRIGGER witness AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON comments FOR EACH STATEMENT EXECUTE FUNCTION witness.record();
CREATE TRIGGER witness AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON orders FOR EACH STATEMENT EXECUTE FUNCTION witness.record();

GRANT SELECT ON ALL TABLES IN SCHEMA public TO shop_app;
GRANT INSERT ON comments, orders TO shop_app;
GRANT UPDATE ON article_counters TO shop_app;
COMMIT;
ANALYZE articles, article_counters, comments, orders;
