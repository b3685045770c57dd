/** What the operator has said of accounts' quotas; of which nothing is said, nothing is kept. */
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient, SqlSchema } from "effect/sql"
import { AccountId } from "../domain/Account.ts"
import { type Overrides, QuotaName } from "../domain/Quota.ts"
import { fromSql, type StorageError } from "./StorageError.ts"

export class QuotaRepository extends Context.Service<
  QuotaRepository,
  {
    readonly find: (account: AccountId) => Effect.Effect<Overrides, StorageError>
    /** Null: no quota. */
    readonly set: (account: AccountId, name: QuotaName, amount: number | null) => Effect.Effect<void, StorageError>
    /** Back to what accounts have of which nothing is said. */
    readonly unset: (account: AccountId, name: QuotaName) => Effect.Effect<void, StorageError>
  }
>()("drover/storage/QuotaRepository") {
  static readonly layer = Layer.effect(
    QuotaRepository,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient

      const select = SqlSchema.findAll({
        Request: AccountId,
        Result: Schema.Struct({ name: QuotaName, amount: Schema.NullOr(Schema.Int) }),
        execute: (account) => sql`select name, amount::float8 as amount from account_quota where account = ${account}`
      })
      const find = Effect.fn("QuotaRepository.find")(
        (account: AccountId) => select(account),
        Effect.map((rows): Overrides => Object.fromEntries(rows.map(({ amount, name }) => [name, amount]))),
        Effect.catchTags(fromSql("finding an account's quotas"))
      )

      const set = Effect.fn("QuotaRepository.set")(
        (account: AccountId, name: QuotaName, amount: number | null) => sql`
          insert into account_quota (account, name, amount) values (${account}, ${name}, ${amount}::bigint)
          on conflict (account, name) do update set amount = excluded.amount`,
        Effect.asVoid,
        Effect.catchTag("SqlError", fromSql("setting an account's quota").SqlError)
      )

      const unset = Effect.fn("QuotaRepository.unset")(
        (account: AccountId, name: QuotaName) => sql`
          delete from account_quota where account = ${account} and name = ${name}`,
        Effect.asVoid,
        Effect.catchTag("SqlError", fromSql("removing an account's quota").SqlError)
      )

      return { find, set, unset }
    })
  )
}
