/**
 * The number of a server's run as the fence around what it writes: once a later run has begun, an earlier one's writes
 * are refused.
 *
 * Writes hold a lock that is shared, to the end of their transactions; to begin a run takes it alone. So whoever begins
 * finds nothing half done, and nothing is added to what it finds. Being volatile, the function sees what was committed
 * until the moment in which it has the lock, and not what its statement saw when it began.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  // The number of the lock is "tenure" in ASCII.
  yield* sql`
    create function begin_tenure() returns integer language plpgsql volatile as $$
    declare
      begun integer;
    begin
      perform pg_advisory_xact_lock(x'74656e757265'::bigint);
      insert into server_run default values returning run into begun;
      return begun;
    end $$`
  yield* sql`
    create function in_tenure(mine integer) returns boolean language plpgsql volatile as $$
    begin
      perform pg_advisory_xact_lock_shared(x'74656e757265'::bigint);
      if exists (select from server_run where run > mine) then
        raise exception using errcode = 'DROVR', message = 'a later server has begun';
      end if;
      return true;
    end $$`
})
