/**
 * The record of events, which tells of what happened and decides nothing.
 *
 * What an event is about is beside it, so that all of a build or of a lease is found. They refer to nothing: an event
 * stays true when a row of another table goes.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    create table server_run (
      run        integer primary key generated always as identity,
      started_at timestamptz not null default now()
    )`
  yield* sql`
    create table event (
      run     integer not null references server_run,
      ordinal bigint not null check (ordinal > 0),
      at      timestamptz not null,
      event   jsonb not null,
      build   uuid,
      lease   uuid,
      primary key (run, ordinal)
    )`
  yield* sql`create index on event (build) where build is not null`
  yield* sql`create index on event (lease) where lease is not null`
  // One row at most: where the record begins once its first events are gone.
  yield* sql`
    create table event_beginning (
      alone      boolean primary key default true check (alone),
      marker     jsonb not null,
      violations jsonb not null
    )`
})
