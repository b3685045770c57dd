/**
 * What outlives a server: who waits for which build and by which rules, and which hosts the operator has taken out.
 *
 * A wait is there from when its client is told of the build until the build has ended or the client has left. So what
 * is left of a server that was killed says which builds somebody may come back for. `kept_until` is null while the
 * client is there. A build that nobody else can wait for has no order, since whoever comes back could not find it.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  // The derivation as the worker protocol writes it.
  yield* sql`
    create table build_order (
      build      uuid primary key references build on delete cascade,
      derivation bytea not null
    )`
  yield* sql`
    create table build_wait (
      id         uuid primary key,
      build      uuid not null references build_order on delete cascade,
      account    uuid not null references account,
      limits     jsonb not null,
      settings   jsonb not null,
      since      timestamptz not null default now(),
      kept_until timestamptz
    )`
  yield* sql`create index on build_wait (build)`
  yield* sql`
    create table drained_host (
      host  text primary key,
      since timestamptz not null default now()
    )`
})
