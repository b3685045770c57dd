/**
 * Accounts and the keys that open them.
 *
 * The database guarantees that a name is one account's, that a key opens one account, that an account has one view
 * and a view one account, and that a key is an Ed25519 key as SSH spells it.
 */
import { Context, Effect, Layer, type Option, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient, SqlSchema } from "effect/sql"
import { Account, type AccountId, AccountName } from "../domain/Account.ts"
import { fromSql, type StorageError } from "./StorageError.ts"

/** A public key as SSH sends it, with what people call it. */
export interface AccountKey {
  readonly publicKey: Uint8Array
  readonly comment: string
}

/** Another account has this name, or this key. */
export class AccountTaken extends Schema.TaggedError<AccountTaken>()("AccountTaken", {
  what: Schema.Literals(["name", "key"])
}) {
  override get message() {
    return this.what === "name"
      ? "expected a new name, found one that an account has"
      : "expected a new key, found one that opens an account"
  }
}

const KeyRow = Schema.Struct({ fingerprint: Schema.String, comment: Schema.String })

/** An account with its keys, for people to read. */
export class ListedAccount extends Account.extend<ListedAccount>("drover/ListedAccount")({
  keys: Schema.Array(KeyRow)
}) {}

export class AccountRepository extends Context.Service<
  AccountRepository,
  {
    /** A new account with a view of its own, opened by this key. */
    readonly create: (name: AccountName, key: AccountKey) => Effect.Effect<Account, AccountTaken | StorageError>
    /** A further key for an account. Adding the one it has changes nothing. */
    readonly addKey: (account: AccountId, key: AccountKey) => Effect.Effect<void, AccountTaken | StorageError>
    readonly findByKey: (publicKey: Uint8Array) => Effect.Effect<Option.Option<Account>, StorageError>
    readonly findByName: (name: AccountName) => Effect.Effect<Option.Option<Account>, StorageError>
    /** By name. */
    readonly list: Effect.Effect<ReadonlyArray<ListedAccount>, StorageError>
  }
>()("drover/storage/AccountRepository") {
  static readonly layer = Layer.effect(
    AccountRepository,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const random = yield* SecureRandom.SecureRandom
      const decode = Schema.decodeUnknownEffect(Account)

      const insertKey = (account: string, { comment, publicKey }: AccountKey) =>
        sql`insert into account_key (public_key, account, comment) values (${publicKey}, ${account}, ${comment})`

      const create = Effect.fn("AccountRepository.create")(
        function* (name: AccountName, key: AccountKey) {
          const id = yield* random.uuidV7()
          const view = yield* random.uuidV7()
          yield* sql`insert into view (id) values (${view})`
          yield* sql`insert into account (id, name, view) values (${id}, ${name}, ${view})`
          yield* insertKey(id, key)
          return yield* decode({ id, name, view })
        },
        sql.withTransaction,
        Effect.catchReason("SqlError", "UniqueViolation", ({ constraint }) =>
          Effect.fail(new AccountTaken({ what: constraint.startsWith("account_key") ? "key" : "name" }))
        ),
        Effect.catchTags(fromSql("creating an account"))
      )

      const addKey = Effect.fn("AccountRepository.addKey")(
        function* (account: AccountId, key: AccountKey) {
          const opened = yield* sql<{ readonly account: string }>`
            select account from account_key where public_key = ${key.publicKey}`
          if (opened[0]?.account === account) return
          yield* insertKey(account, key)
        },
        Effect.catchReason("SqlError", "UniqueViolation", () => Effect.fail(new AccountTaken({ what: "key" }))),
        Effect.catchTag("SqlError", fromSql("adding a key").SqlError)
      )

      const selectByKey = SqlSchema.findOneOption({
        Request: Schema.Uint8Array,
        Result: Account,
        execute: (publicKey) => sql`
          select account.id, name, view from account join account_key on account.id = account
          where public_key = ${publicKey}`
      })
      const findByKey = Effect.fn("AccountRepository.findByKey")(
        selectByKey,
        Effect.catchTags(fromSql("finding an account by its key"))
      )

      const selectByName = SqlSchema.findOneOption({
        Request: AccountName,
        Result: Account,
        execute: (name) => sql`select id, name, view from account where name = ${name}`
      })
      const findByName = Effect.fn("AccountRepository.findByName")(
        selectByName,
        Effect.catchTags(fromSql("finding an account by its name"))
      )

      const selectAll = SqlSchema.findAll({
        Request: Schema.Void,
        Result: ListedAccount,
        execute: () => sql`
          select account.id, name, view,
            coalesce(
              jsonb_agg(jsonb_build_object('fingerprint', fingerprint, 'comment', comment) order by added_at)
                filter (where fingerprint is not null),
              '[]'
            ) as keys
          from account left join account_key on account.id = account
          group by account.id order by name`
      })
      const list = selectAll(void 0).pipe(
        Effect.catchTags(fromSql("listing accounts")),
        Effect.withSpan("AccountRepository.list")
      )

      return { create, addKey, findByKey, findByName, list }
    })
  )
}
