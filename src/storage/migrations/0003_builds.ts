/**
 * Builds, who waits for them, and the attempts at each.
 *
 * A build has ended exactly when its state is a final one; an attempt exactly when it has an outcome. A build has at
 * most one attempt running, and its current attempt is one of its own: late words of an earlier one are known by that.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    create table build (
      id              uuid primary key,
      identity        sha256 not null,
      derivation      store_path not null,
      name            text not null,
      system          text not null,
      state           text not null default 'queued'
        check (state in ('queued', 'building', 'importing', 'succeeded', 'failed', 'cancelled')),
      reused_from     uuid references build,
      current_attempt uuid,
      created_at      timestamptz not null default now(),
      started_at      timestamptz,
      ended_at        timestamptz,
      status          text,
      message         text,
      check ((ended_at is not null) = (state in ('succeeded', 'failed', 'cancelled'))),
      check ((status is null) = (message is null)),
      check (reused_from <> id)
    )`
  yield* sql`create index on build (identity, created_at desc)`
  yield* sql`create index on build (created_at desc, id desc)`
  yield* sql`create index on build (state) where ended_at is null`
  yield* sql`
    create table attempt (
      id                      uuid primary key,
      build                   uuid not null references build,
      ordinal                 integer not null check (ordinal > 0),
      sandbox                 text not null check (sandbox in ('process', 'kvm', 'emulated')),
      epoch                   integer not null,
      versions                jsonb not null,
      host                    text not null default 'local',
      cores                   integer not null check (cores > 0),
      memory_bytes            bigint not null check (memory_bytes > 0),
      started_at              timestamptz not null default now(),
      ended_at                timestamptz,
      outcome                 text check (outcome in ('succeeded', 'failed', 'refused', 'out-of-memory',
        'out-of-scratch', 'timed-out', 'silent', 'cancelled', 'lost')),
      detail                  text,
      cpu_user_microseconds   bigint,
      cpu_system_microseconds bigint,
      memory_peak_bytes       bigint,
      log_bytes               bigint,
      unique (build, ordinal),
      unique (build, id),
      check ((ended_at is null) = (outcome is null))
    )`
  yield* sql`create unique index on attempt (build) where ended_at is null`
  yield* sql`
    alter table build add foreign key (id, current_attempt) references attempt (build, id)
      deferrable initially deferred`
  yield* sql`
    create table build_account (
      build     uuid not null references build,
      account   uuid not null references account,
      joined_at timestamptz not null default now(),
      primary key (build, account)
    )`
  yield* sql`create index on build_account (account)`
  // The hash says which object the build made: a path alone is only a name.
  yield* sql`
    create table build_output (
      build    uuid not null references build,
      name     text not null,
      path     store_path not null,
      nar_hash sha256 not null references nar,
      primary key (build, name)
    )`
  yield* sql`create index on build_output (nar_hash)`
})
