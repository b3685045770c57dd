/**
 * Which inputs an attempt read, as the process that serves its disk saw it: one row for each attempt in a machine.
 *
 * Paths and bytes stand beside each other, the most read first. They are asked for by attempt alone, and a row for each
 * path would be the largest table there is.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    create table attempt_read (
      attempt uuid primary key references attempt on delete cascade,
      inputs  integer not null check (inputs >= 0),
      read    integer not null check (read between 0 and inputs),
      paths   text[] not null,
      bytes   bigint[] not null,
      check (cardinality(paths) = cardinality(bytes)),
      check (cardinality(paths) <= read)
    )`
})
