/** What the operator has said of single accounts' quotas. No amount: no quota. */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    create table account_quota (
      account uuid not null references account,
      name    text not null
        check (name in ('connections', 'builds', 'running', 'stored', 'log', 'upload', 'download')),
      amount  bigint check (amount >= 0 and amount <= 9007199254740991),
      primary key (account, name)
    )`
})
