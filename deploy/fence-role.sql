-- The role that keeps those who go past Lull from writing while a site is sealed (`fence` of a cluster). Run once on the primary, as a
-- superuser, in the database that `fence.database` names:
--   psql -d postgres -v password=SECRET -f deploy/fence-role.sql
-- Without a superuser: as the owner of the site's databases who has CREATEROLE; then it works for those databases.
CREATE ROLE lull_fence LOGIN PASSWORD :'password';
-- To see sessions, and to end those of everybody but superusers.
GRANT pg_monitor, pg_signal_backend TO lull_fence;
-- ALTER DATABASE ... SET is for the owner of a database, ALTER ROLE ... IN DATABASE ... SET for who may create roles, and both
-- could do much more. This function can set that one parameter, and nothing else.
CREATE SCHEMA lull;
CREATE FUNCTION lull.set_read_only(database name, role name, value text) RETURNS void LANGUAGE plpgsql
  SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  whose text := CASE WHEN role = '' THEN format('DATABASE %I', database) ELSE format('ROLE %I IN DATABASE %I', role, database) END;
BEGIN
  IF value IS NULL THEN
    EXECUTE format('ALTER %s RESET default_transaction_read_only', whose);
  ELSE
    EXECUTE format('ALTER %s SET default_transaction_read_only = %L', whose, value);
  END IF;
END $$;
REVOKE ALL ON FUNCTION lull.set_read_only(name, name, text) FROM PUBLIC;
GRANT USAGE ON SCHEMA lull TO lull_fence;
GRANT EXECUTE ON FUNCTION lull.set_read_only(name, name, text) TO lull_fence;
