import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import { AccountName } from "../../src/domain/Account.ts"
import { AccountRepository } from "../../src/storage/AccountRepository.ts"
import { TestDatabase } from "../support/postgres.ts"
import { freshAccount, publicKey } from "../support/store.ts"

const Repository = AccountRepository.layer.pipe(
  Layer.provideMerge(TestDatabase),
  Layer.provide(SecureRandom.layerWebCrypto)
)

layer(Repository)("AccountRepository", (it) => {
  it.effect("finds an account by its key and by its name", () =>
    Effect.gen(function* () {
      const repository = yield* AccountRepository
      const key = { publicKey: publicKey("alice"), comment: "alice@laptop" }

      const alice = yield* repository.create(AccountName.make("alice"), key)

      assert.deepStrictEqual(yield* repository.findByKey(key.publicKey), Option.some(alice))
      assert.deepStrictEqual(yield* repository.findByName(AccountName.make("alice")), Option.some(alice))
      assert.deepStrictEqual(yield* repository.findByKey(publicKey("nobody")), Option.none())
    })
  )

  it.effect("gives each account a view of its own", () =>
    Effect.gen(function* () {
      const first = yield* freshAccount
      const second = yield* freshAccount

      assert.notStrictEqual(first.view, second.view)
    })
  )

  it.effect("refuses a name that is taken, and a key that opens another account", () =>
    Effect.gen(function* () {
      const repository = yield* AccountRepository
      const carol = AccountName.make("carol")
      yield* repository.create(carol, { publicKey: publicKey("carol"), comment: "" })

      const sameName = yield* Effect.flip(repository.create(carol, { publicKey: publicKey("other"), comment: "" }))
      const sameKey = yield* Effect.flip(
        repository.create(AccountName.make("dave"), { publicKey: publicKey("carol"), comment: "" })
      )

      assert.deepInclude(sameName, { _tag: "AccountTaken", what: "name" })
      assert.deepInclude(sameKey, { _tag: "AccountTaken", what: "key" })
      assert.deepStrictEqual(yield* repository.findByName(AccountName.make("dave")), Option.none())
    })
  )

  it.effect("opens an account by each of its keys, and by a key that is added twice", () =>
    Effect.gen(function* () {
      const repository = yield* AccountRepository
      const account = yield* freshAccount
      const second = { publicKey: publicKey("second"), comment: "second" }

      yield* repository.addKey(account.id, second)
      yield* repository.addKey(account.id, second)

      assert.deepStrictEqual(yield* repository.findByKey(second.publicKey), Option.some(account))
      const stranger = yield* freshAccount
      const error = yield* Effect.flip(repository.addKey(stranger.id, second))
      assert.deepInclude(error, { _tag: "AccountTaken", what: "key" })
    })
  )

  it.effect("lists accounts by name with the fingerprints of their keys, as ssh-keygen prints them", () =>
    Effect.gen(function* () {
      const repository = yield* AccountRepository
      const blob = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
      const key = { publicKey: Buffer.from(blob, "base64"), comment: "counting" }

      yield* repository.create(AccountName.make("Erin"), key)

      const listed = yield* repository.list
      const names = listed.map(({ name }) => name)
      assert.deepStrictEqual(names, [...names].sort())
      assert.deepStrictEqual(listed.find(({ name }) => name === "Erin")?.keys, [
        {
          fingerprint: "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA",
          comment: "counting"
        }
      ])
    })
  )

  it.effect("takes nothing for a key that is not an Ed25519 key", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { id } = yield* freshAccount
      const insert = (key: Uint8Array) =>
        sql`insert into account_key (public_key, account, comment) values (${key}, ${id}, '')`

      const rsa = publicKey("x").slice()
      rsa[10] = 0x72
      assert.strictEqual((yield* Effect.flip(insert(rsa))).reason._tag, "ConstraintError")
      assert.strictEqual((yield* Effect.flip(insert(publicKey("x").subarray(0, 50)))).reason._tag, "ConstraintError")
    })
  )
})
