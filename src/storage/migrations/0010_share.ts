/** Among an account's quotas, what its share of the hosts is measured by. */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    alter table account_quota
      drop constraint account_quota_name_check,
      add constraint account_quota_name_check
        check (name in ('connections', 'builds', 'running', 'share', 'stored', 'log', 'upload', 'download'))`
})
