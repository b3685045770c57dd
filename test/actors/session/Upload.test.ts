import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as Upload from "../../../src/actors/session/Upload.ts"
import * as ContentAddress from "../../../src/protocol/nix/ContentAddress.ts"
import * as Hash from "../../../src/protocol/nix/Hash.ts"
import { type Digests, HashModulo } from "../../../src/protocol/nix/HashModulo.ts"
import type { PathInfo } from "../../../src/protocol/nix/PathInfo.ts"
import * as StorePath from "../../../src/protocol/nix/StorePath.ts"
import { WireError } from "../../../src/protocol/wire/Codec.ts"
import * as Source from "../../../src/protocol/wire/Source.ts"
import { NarStore } from "../../../src/storage/NarStore.ts"
import { ViewRepository } from "../../../src/storage/ViewRepository.ts"
import { hashOf, narOf, type Tree } from "../../support/nar.ts"
import { infoOf, newPath, SessionServices } from "../../support/sessions.ts"
import { freshAccount } from "../../support/store.ts"

/** Uploads one path into a view of its own; what the view then holds, or the sentence of the refusal. */
const upload = Effect.fnUntraced(function* (info: PathInfo, nar: Uint8Array) {
  const account = yield* freshAccount
  const { view } = account
  const views = yield* ViewRepository
  const refusal = yield* Effect.scoped(
    Effect.gen(function* () {
      const upload = yield* Upload.make(account)
      yield* upload.receive(info, Source.fromChunks([nar]))
      yield* upload.commit
      return null
    })
  ).pipe(Effect.catchTag("Refusal", ({ detail }) => Effect.succeed(detail)))
  const [held] = yield* views.findMany(view, [info.path])
  return { refusal, assured: held?.assured ?? null }
})

const addressed = (
  tree: Tree,
  method: ContentAddress.ContentAddress["method"],
  hash: Hash.Hash,
  self: boolean
): readonly [PathInfo, Uint8Array] => {
  const address = { method, hash }
  const path = ContentAddress.storePath("x", address, { others: [], self })
  if (path instanceof WireError) throw path
  const nar = narOf(tree)
  return [infoOf(path, nar, { contentAddress: ContentAddress.print(address), references: self ? [path] : [] }), nar]
}

/** A tree that knows its own path, which is by its contents: in one of the two families of addresses. */
const knowingItself = (family: keyof Digests): readonly [PathInfo, Uint8Array] => {
  const placeholder = "0".repeat(StorePath.hashPartLength - 1) + "1"
  const tree = (hashPart: string): Tree => ({
    entries: { a: `before ${hashPart} after`, b: { target: `../${hashPart}-x` } }
  })
  const modulo = new HashModulo("sha256", placeholder)
  modulo.push(narOf(tree(placeholder)))
  const hash: Hash.Hash = { algorithm: "sha256", hex: modulo.digests()[family] }
  const [{ path }] = addressed("", "nar", hash, true)
  return addressed(tree(StorePath.hashPart(path)), "nar", hash, true)
}

const text = Hash.sha256(Hash.digestSha256("hello"))
const sha1: Hash.Hash = { algorithm: "sha1", hex: Hash.digest("sha1", "hello") }
const nar = Hash.sha256(hashOf(narOf("hello")))

// The database is not of the test clock.
layer(SessionServices, { excludeTestServices: true, timeout: "1 minute" })("an upload", (it) => {
  const honest: ReadonlyArray<readonly [string, readonly [PathInfo, Uint8Array]]> = [
    ["a text", addressed("hello", "text", text, false)],
    ["a file", addressed("hello", "flat", text, false)],
    ["a file by sha1", addressed("hello", "flat", sha1, false)],
    ["a NAR", addressed("hello", "nar", nar, false)],
    ["a NAR that knows itself, as Nix 2.8 addresses it", knowingItself("withOffsets")],
    ["a NAR that knows itself, as Nix 2.26 addresses it", knowingItself("withoutOffsets")]
  ]
  for (const [name, [info, bytes]] of honest) {
    it.effect(`is assured when its contents are those of its address: ${name}`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* upload(info, bytes), { refusal: null, assured: true })
      })
    )

    it.effect(`is refused when its contents are not: ${name}`, () =>
      Effect.gen(function* () {
        const other = narOf("something else")
        const { contentAddress, path, references } = info

        const { assured, refusal } = yield* upload(infoOf(path, other, { contentAddress, references }), other)

        assert.match(refusal ?? "", /^content address mismatch importing path/)
        assert.isNull(assured)
      })
    )
  }

  it.effect("is refused when its address is of another path, or none", () =>
    Effect.gen(function* () {
      const [{ contentAddress }, bytes] = addressed("hello", "text", text, false)

      for (const wrong of [contentAddress, "fixed:r:sha256:x", "nonsense"]) {
        const { refusal } = yield* upload(infoOf(newPath("x"), bytes, { contentAddress: wrong }), bytes)
        assert.isNotNull(refusal)
      }
    })
  )

  it.effect("is refused when it is no file and its address is a file's", () =>
    Effect.gen(function* () {
      for (const tree of [{ entries: { a: "hello" } }, { target: "hello" }] satisfies Array<Tree>) {
        const [info, bytes] = addressed(tree, "flat", text, false)

        assert.match((yield* upload(info, bytes)).refusal ?? "", /address of a file and is none/)
      }
    })
  )

  it.effect(
    "is taken when it is executable and its address a plain file's, as nix-store --add-fixed sends it, and not assured",
    () =>
      Effect.gen(function* () {
        const [info, bytes] = addressed({ executable: "hello" }, "flat", text, false)

        assert.deepStrictEqual(yield* upload(info, bytes), { refusal: null, assured: false })
      })
  )

  it.effect("is not assured by its owner's word", () =>
    Effect.gen(function* () {
      const bytes = narOf("hello")
      const info = infoOf(newPath("x"), bytes, { ultimate: true, signatures: ["key:c2ln"] })

      assert.deepStrictEqual(yield* upload(info, bytes), { refusal: null, assured: false })
    })
  )

  it.effect("makes nothing valid before it is committed", () =>
    Effect.gen(function* () {
      const account = yield* freshAccount
      const { view } = account
      const views = yield* ViewRepository
      const bytes = narOf("never committed")
      const info = infoOf(newPath("x"), bytes)

      yield* Effect.scoped(
        Effect.gen(function* () {
          const upload = yield* Upload.make(account)
          yield* upload.receive(info, Source.fromChunks([bytes]))
          assert.deepStrictEqual(yield* views.all(view), [])
        })
      )

      assert.deepStrictEqual(yield* views.all(view), [])
      const opened = yield* Effect.exit(Effect.scoped((yield* NarStore).open(info.narHash)))
      assert.strictEqual(opened._tag, "Failure")
    })
  )

  /** What reaches the store of so many paths, and in which order. */
  const orderOf = Effect.fnUntraced(function* (paths: ReadonlyArray<StorePath.StorePath>, bytes = narOf("ordered")) {
    const account = yield* freshAccount
    const order: Array<string> = []
    const nars = yield* NarStore
    const views = yield* ViewRepository
    yield* Effect.scoped(
      Effect.gen(function* () {
        const upload = yield* Upload.make(account)
        for (const path of paths) yield* upload.receive(infoOf(path, bytes), Source.fromChunks([bytes]))
        yield* upload.commit
      })
    ).pipe(
      Effect.provideService(NarStore, {
        ...nars,
        commit: (group) => Effect.tap(nars.commit(group), () => Effect.sync(() => order.push(`commit ${group.length}`)))
      }),
      Effect.provideService(ViewRepository, {
        ...views,
        add: (view, group) =>
          Effect.andThen(
            Effect.sync(() => order.push(`add ${group.length}`)),
            views.add(view, group)
          ),
        addWithNar: (view, addition, nar) =>
          Effect.tap(views.addWithNar(view, addition, nar), (isDone) =>
            Effect.sync(() => order.push(isDone ? "add with NAR" : "add with NAR: not done"))
          )
      })
    )
    return order
  })

  it.effect("makes the NARs durable before it registers what they are", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* orderOf([newPath("x"), newPath("x")]), ["commit 2", "add 2"])
    })
  )

  it.effect("is one round trip for a small path that comes alone, and for a large one is not", () =>
    Effect.gen(function* () {
      const large = narOf(Buffer.alloc(100_000, "large and alone"))

      assert.deepStrictEqual(yield* orderOf([newPath("x")]), ["add with NAR"])
      assert.deepStrictEqual(yield* orderOf([newPath("x")], large), ["commit 1", "add 1"])
    })
  )

  it.effect("is told of a missing reference in the same words, whether it comes alone or not", () =>
    Effect.gen(function* () {
      const bytes = narOf("refers to nothing that is there")
      const missing = newPath("missing")
      const info = infoOf(newPath("x"), bytes, { references: [missing] })

      const { refusal } = yield* upload(info, bytes)

      const [path, reference] = [StorePath.print(info.path), StorePath.print(missing)]
      assert.strictEqual(refusal, `cannot add '${path}' because the reference '${reference}' is not valid`)
      const opened = yield* Effect.exit(Effect.scoped((yield* NarStore).open(info.narHash)))
      assert.strictEqual(opened._tag, "Failure")
    })
  )

  it.effect("keeps a path that comes twice once", () =>
    Effect.gen(function* () {
      const path = newPath("x")

      assert.deepStrictEqual(yield* orderOf([path, newPath("y"), path]), ["commit 2", "add 2"])
    })
  )

  it.effect("is committed in groups when it is large", () =>
    Effect.gen(function* () {
      const order = yield* orderOf(Array.from({ length: 1100 }, () => newPath("x")))

      assert.deepStrictEqual(
        order.filter((step) => step.startsWith("add")),
        ["add 500", "add 500", "add 100"]
      )
    })
  )
})
