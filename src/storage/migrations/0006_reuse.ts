/**
 * What it takes to answer with a build that has ended: all there is to know of its outputs, which limit ended an
 * attempt, what the operator has taken back, and why a build was not answered by another.
 *
 * Outputs of builds that were recorded before this lack what they refer to, and are not reused.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    alter table build_output
      add reference_paths store_path[],
      add ca text,
      add check ((reference_paths is null) = (ca is null))`
  yield* sql`alter table attempt add limit_seconds integer, add distrusted_at timestamptz`
  yield* sql`
    alter table build add not_reused text,
      add check (reused_from is null or (not_reused is null and current_attempt is null))`
  // Of one identity many builds may have been answered by another, and they are never looked at for an answer.
  yield* sql`
    create index on build (identity, created_at desc) where reused_from is null and ended_at is not null`
  yield* sql`create index on build (reused_from) where reused_from is not null`
  // For what an operator takes back.
  yield* sql`create index on store_object (path, nar_hash)`
})
