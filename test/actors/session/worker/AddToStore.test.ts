import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import type { PathInfo } from "../../../../src/protocol/nix/PathInfo.ts"
import type * as StorePath from "../../../../src/protocol/nix/StorePath.ts"
import * as Codec from "../../../../src/protocol/wire/Codec.ts"
import * as Source from "../../../../src/protocol/wire/Source.ts"
import { Item, ItemCount } from "../../../../src/protocol/worker/AddToStore.ts"
import { ViewRepository } from "../../../../src/storage/ViewRepository.ts"
import { cut, narOf } from "../../../support/nar.ts"
import { framed, infoOf, newPath, SessionServices, workerClient } from "../../../support/sessions.ts"
import { freshAccount } from "../../../support/store.ts"

const quiet = { repair: false, dontCheckSignatures: true }
const hello = narOf("hello")

/** What `AddMultipleToStore` carries. */
const items = (infos: ReadonlyArray<readonly [PathInfo, Uint8Array]>, count = infos.length) =>
  Buffer.concat([
    Codec.encode(ItemCount, count, 0),
    ...infos.flatMap(([info, nar]) => [Codec.encode(Item, info, 0), nar])
  ])

// The database is not of the test clock.
layer(SessionServices, { excludeTestServices: true, timeout: "1 minute" })("uploads to a worker session", (it) => {
  it.effect("makes a path valid that was uploaded in frames, and gives it back", () =>
    Effect.gen(function* () {
      const { answer, ask, client, send } = yield* workerClient(yield* freshAccount)
      const info = infoOf(newPath("hello"), hello, { deriver: newPath("hello.drv"), signatures: ["key:c2ln"] })

      const added = yield* ask("AddToStoreNar", { info, ...quiet }, framed(hello))
      const found = yield* ask("QueryPathInfo", { path: info.path })
      yield* send("NarFromPath", { path: info.path })
      yield* answer("NarFromPath")
      const nar = yield* Source.take(client.input, hello.length)

      assert.strictEqual(added.error, null)
      const { deriver, narHash, narSize, signatures, ultimate } = found.response!
      assert.deepStrictEqual([deriver, narHash, narSize], [info.deriver, info.narHash, info.narSize])
      assert.deepStrictEqual([signatures, ultimate], [info.signatures, false])
      assert.deepStrictEqual(Buffer.from(nar), hello)
    })
  )

  for (const [version, how] of [
    [0x0114, "as a bare NAR"],
    [0x0116, "as it was asked for"]
  ] as const) {
    it.effect(`makes a path valid that was uploaded ${how}`, () =>
      Effect.gen(function* () {
        const { agreed, answer, ask, client, send } = yield* workerClient(yield* freshAccount, {
          version,
          eager: false
        })
        const info = infoOf(newPath("hello"), hello)
        const pulled = cut(hello, 50).map((chunk) => Codec.encode(Codec.bytes, chunk, 0))

        yield* send("AddToStoreNar", { info, ...quiet }, agreed < 0x0115 ? hello : Buffer.concat(pulled))
        const added = yield* answer("AddToStoreNar")

        assert.strictEqual(added.error, null)
        assert.strictEqual(
          added.messages.filter(({ _tag }) => _tag === "Read").length,
          agreed < 0x0115 ? 0 : pulled.length
        )
        assert.isTrue((yield* ask("IsValidPath", { path: info.path })).response)
        assert.strictEqual(client.unread(), 0)
      })
    )
  }

  it.effect("takes many paths at once, and tells of none before all of a group are there", () =>
    Effect.gen(function* () {
      const account = yield* freshAccount
      const { ask } = yield* workerClient(account)
      const infos: Array<readonly [PathInfo, Uint8Array]> = []
      for (let index = 0; index < 1200; index++) {
        const nar = narOf(`contents ${index % 7}`)
        const last = infos.at(-1)?.[0].path
        infos.push([infoOf(newPath(`p${index}`), nar, { references: last === undefined ? [] : [last] }), nar])
      }

      const added = yield* ask("AddMultipleToStore", quiet, framed(items(infos)))

      assert.strictEqual(added.error, null)
      const closure = yield* (yield* ViewRepository).closure(account.view, [infos.at(-1)![0].path])
      assert.strictEqual(closure.length, 1200)
    })
  )

  it.effect("takes no paths at once, which old clients send", () =>
    Effect.gen(function* () {
      const { ask } = yield* workerClient(yield* freshAccount)

      assert.strictEqual((yield* ask("AddMultipleToStore", quiet, framed(items([])))).error, null)
    })
  )

  it.effect("refuses a reference to what is not there, to what comes later, and to what another account has", () =>
    Effect.gen(function* () {
      const theirs = infoOf(newPath("theirs"), hello)
      const other = yield* workerClient(yield* freshAccount)
      yield* other.ask("AddToStoreNar", { info: theirs, ...quiet }, framed(hello))
      const { ask } = yield* workerClient(yield* freshAccount)
      const later = infoOf(newPath("later"), hello)

      for (const reference of [theirs.path, later.path]) {
        const info = infoOf(newPath("first"), hello, { references: [reference] })
        const { error } = yield* ask(
          "AddMultipleToStore",
          quiet,
          framed(
            items([
              [info, hello],
              [later, hello]
            ])
          )
        )
        assert.strictEqual(
          error,
          `cannot add '/nix/store/${info.path}' because the reference '/nix/store/${reference}' is not valid`
        )
        assert.isFalse((yield* ask("IsValidPath", { path: info.path })).response)
      }
      const self = newPath("self")
      const added = yield* ask(
        "AddToStoreNar",
        { info: infoOf(self, hello, { references: [self] }), ...quiet },
        framed(hello)
      )
      assert.strictEqual(added.error, null)
    })
  )

  it.effect("keeps the object that a path has, and reads another one to its end", () =>
    Effect.gen(function* () {
      const { ask } = yield* workerClient(yield* freshAccount)
      const first = infoOf(newPath("twice"), hello)
      const other = narOf("something else")
      yield* ask("AddToStoreNar", { info: first, ...quiet }, framed(hello))

      const again = yield* ask("AddToStoreNar", { info: infoOf(first.path, other), ...quiet }, framed(other))

      assert.strictEqual(again.error, null)
      assert.strictEqual((yield* ask("QueryPathInfo", { path: first.path })).response?.narHash, first.narHash)
    })
  )

  // Each lie: what is sent in place of an honest upload, and how it is answered.
  const contents = Buffer.alloc(100_000, "contents")
  const honest = narOf(contents)
  const oversized = Buffer.from(honest)
  oversized.writeBigUInt64LE(2n ** 62n, honest.indexOf("contents") + 8)
  const lies: ReadonlyArray<readonly [string, (path: StorePath.StorePath) => readonly [PathInfo, Uint8Array], RegExp]> =
    [
      [
        "another hash",
        (path) => [infoOf(path, honest, { narHash: infoOf(path, hello).narHash }), honest],
        /hash mismatch/
      ],
      ["a larger size", (path) => [infoOf(path, honest, { narSize: honest.length + 8 }), honest], /size mismatch/],
      ["a smaller size", (path) => [infoOf(path, honest, { narSize: 96 }), honest], /expected/],
      ["an endless file", (path) => [infoOf(path, honest, { narSize: 2 ** 52 }), oversized], /expected/],
      ["what is no NAR", (path) => [infoOf(path, honest), Buffer.alloc(100_000, 0x5a)], /expected/],
      ["a NAR and more", (path) => [infoOf(path, honest), Buffer.concat([honest, honest])], /expected/],
      ["half a NAR", (path) => [infoOf(path, honest), honest.subarray(0, 50_000)], /expected/]
    ]
  for (const [name, lie, expected] of lies) {
    it.effect(`refuses ${name} in the middle of frames, and goes on`, () =>
      Effect.gen(function* () {
        const { ask } = yield* workerClient(yield* freshAccount)
        const [info, bytes] = lie(newPath("lie"))

        const lied = yield* ask("AddToStoreNar", { info, ...quiet }, framed(bytes))

        assert.match(lied.error ?? "", expected)
        assert.isFalse((yield* ask("IsValidPath", { path: info.path })).response)
        const next = infoOf(newPath("next"), honest)
        assert.strictEqual((yield* ask("AddToStoreNar", { info: next, ...quiet }, framed(honest))).error, null)
      })
    )

    it.effect(`refuses ${name} where it is pulled, or bare`, () =>
      Effect.gen(function* () {
        for (const version of [0x0114, 0x0115]) {
          const { answer, client, send } = yield* workerClient(yield* freshAccount, { version })
          const [info, bytes] = lie(newPath("lie"))
          const pulled = cut(bytes, 50_000).map((chunk) => Codec.encode(Codec.bytes, chunk, 0))

          yield* send("AddToStoreNar", { info, ...quiet }, version < 0x0115 ? bytes : Buffer.concat(pulled))
          yield* client.end
          const { error } = yield* answer("AddToStoreNar")

          // Of a bare NAR nobody knows that there is more; it is taken for the next operation.
          if (name !== "a NAR and more") assert.match(error ?? "", expected)
        }
      })
    )
  }

  it.effect("ends when an upload breaks off", () =>
    Effect.gen(function* () {
      const { answer, client, exitStatus, send } = yield* workerClient(yield* freshAccount)
      const whole = framed(honest)

      yield* send(
        "AddToStoreNar",
        { info: infoOf(newPath("torn"), honest), ...quiet },
        whole.subarray(0, whole.length / 2)
      )
      yield* client.end

      assert.match((yield* answer("AddToStoreNar")).error ?? "", /expected/)
      assert.strictEqual(yield* exitStatus, 1)
    })
  )

  it.effect("adds by name what is a NAR, a file or a text, and says where", () =>
    Effect.gen(function* () {
      const account = yield* freshAccount
      const { ask } = yield* workerClient(account)
      const old = yield* workerClient(account, { version: 0x0115 })
      const nar = { method: "nar", algorithm: "sha256" } as const
      const flat = { method: "flat", algorithm: "sha1" } as const
      const plain = { method: "text", algorithm: "sha256" } as const
      const request = (address: typeof nar | typeof flat | typeof plain) => ({
        name: "x",
        address,
        references: [],
        repair: false
      })
      const pathOf = (response: PathInfo | StorePath.StorePath | null) =>
        typeof response === "string" ? response : response?.path

      const added = [
        yield* ask("AddToStore", request(nar), framed(hello)),
        yield* ask("AddToStore", request(flat), framed(Buffer.from("hello"))),
        yield* ask("AddToStore", request(plain), framed(Buffer.from("hello")))
      ].map(({ response }) => pathOf(response))
      const before = [
        yield* old.ask("AddToStore", request(nar), hello),
        yield* old.ask("AddToStore", request(flat), hello),
        yield* old.ask("AddTextToStore", { name: "x", contents: Buffer.from("hello"), references: [] })
      ].map(({ response }) => pathOf(response))

      // As nix 2.8 says: nix-store --add, nix-store --add-fixed sha1, builtins.toFile.
      assert.deepStrictEqual<ReadonlyArray<string | undefined>>(added, [
        "9x7xmib0f869wv54vn5c2f7h0h5f327b-x",
        "6akgbvwy3ssz411f8i5p5fqpnjsqc0cr-x",
        "4g4g9i669dl63abpww0djbl2jxl6bwiz-x"
      ])
      assert.deepStrictEqual(before, added)
      const infos = yield* (yield* ViewRepository).findMany(
        account.view,
        added.flatMap((path) => path ?? [])
      )
      assert.deepStrictEqual(
        infos.map(({ assured }) => assured),
        [true, true, true]
      )
    })
  )
})
