/**
 * What is known of earlier builds when the next like it is given its cores and memory.
 *
 * An attempt is in it for each account that waited for its build. A name is divided into package and version as Nix
 * does it: at the first dash that is followed by anything but a letter.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`alter table attempt add memory_held_bytes bigint, add run_milliseconds bigint`
  yield* sql`
    create function package_of(name text) returns text language sql immutable parallel safe
    return coalesce(substring(name from '^(.*?)-[^A-Za-z]'), name)`
  yield* sql`
    create function version_of(name text) returns text language sql immutable parallel safe
    return substr(name, length(package_of(name)) + 2)`
  yield* sql`
    create table attempt_history (
      account  uuid not null references account,
      attempt  uuid not null references attempt on delete cascade,
      identity sha256 not null,
      package  text not null,
      version  text not null,
      ended_at timestamptz not null default now(),
      primary key (account, attempt)
    )`
  yield* sql`create index on attempt_history (attempt)`
  yield* sql`create index on attempt_history (identity, ended_at desc)`
  yield* sql`create index on attempt_history (account, package, version, ended_at desc)`
  yield* sql`create index on attempt_history (account, package, ended_at desc)`
})
