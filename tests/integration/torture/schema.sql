-- Every commit signs itself: whoever writes leaves a row with role and transaction id in the same transaction. No constraint
-- keeps a token from being there twice, so that it is seen.
CREATE TABLE items (id int PRIMARY KEY);
INSERT INTO items SELECT generate_series(1, 100);
CREATE TABLE ledger (id bigserial, token text NOT NULL, role name NOT NULL DEFAULT session_user, xid xid8 NOT NULL DEFAULT pg_current_xact_id());
CREATE FUNCTION writes(token text) RETURNS int LANGUAGE sql VOLATILE AS 'INSERT INTO ledger (token) VALUES ($1) RETURNING 1';
-- Where its source said transaction_read_only, the catalog would have it refused by name.
CREATE FUNCTION sly(what text) RETURNS int LANGUAGE plpgsql VOLATILE AS
  $$BEGIN EXECUTE 'RESET transaction_' || 'read_only'; INSERT INTO ledger (token) VALUES (what); RETURN 1; END$$;
CREATE PROCEDURE two_commits(first text, second text, pause float) LANGUAGE plpgsql AS
  $$BEGIN INSERT INTO ledger (token) VALUES (first); COMMIT; PERFORM pg_sleep(pause); INSERT INTO ledger (token) VALUES (second); COMMIT; END$$;
GRANT ALL ON ALL TABLES IN SCHEMA public TO app, shop_owner, other;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO app, shop_owner, other;
