import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Scope } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import type { Sha256 } from "../../src/protocol/nix/Hash.ts"
import * as Source from "../../src/protocol/wire/Source.ts"
import { NarStore } from "../../src/storage/NarStore.ts"
import { MissingNar, StorageError } from "../../src/storage/StorageError.ts"
import { TreeCache } from "../../src/storage/TreeCache.ts"
import { cut, hashOf, narOf, type Tree } from "../support/nar.ts"
import { temporaryDirectory } from "../support/postgres.ts"

const missing = (narHash: Sha256) => new StorageError({ operation: "opening", cause: new MissingNar({ narHash }) })

/** A store of NARs in memory, that counts how often each is opened, and holds up those who open one. */
const narsInMemory = (gate: Effect.Effect<void> = Effect.void) => {
  const nars = new Map<Sha256, Uint8Array>()
  const opened: Array<Sha256> = []
  const open = Effect.fnUntraced(function* (narHash: Sha256) {
    opened.push(narHash)
    yield* gate
    const nar = nars.get(narHash)
    return nar === undefined ? yield* missing(narHash) : Source.fromChunks(cut(nar, 1000))
  })
  return {
    opened,
    add: (bytes: Uint8Array) => {
      nars.set(hashOf(bytes), bytes)
      return hashOf(bytes)
    },
    layer: Layer.succeed(NarStore, {
      open,
      receive: () => Effect.die("nothing is received here"),
      reread: () => Effect.die("nothing is received here"),
      row: () => Effect.die("nothing is received here"),
      commit: () => Effect.die("nothing is committed here"),
      listing: (narHash) => missing(narHash),
      locate: ([narHash]) => (narHash === undefined ? Effect.succeed([]) : missing(narHash))
    })
  }
}

/** Runs with a cache of this directory, as a server that starts and ends does. */
const inCache =
  (dataDirectory: string, nars: ReturnType<typeof narsInMemory>, budgetBytes = 10 ** 9) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.provide(Effect.scoped(effect), Layer.provide(TreeCache.layer({ dataDirectory, budgetBytes }), nars.layer), {
      local: true
    })

const checkout = Effect.fnUntraced(function* (...hashes: ReadonlyArray<Sha256>) {
  return yield* (yield* TreeCache).checkout(hashes)
})

/** Used and let go again. */
const use = (...hashes: ReadonlyArray<Sha256>) => Effect.scoped(checkout(...hashes))

const tree: Tree = {
  entries: {
    bin: { entries: { hello: { executable: "#!/bin/sh\n" } } },
    empty: { entries: {} },
    "file\udcff": "no UTF-8 in its name",
    link: { target: "/outside" },
    zero: ""
  }
}

/** A tree of about this many bytes, and no other like it. */
const sized = (bytes: number, seed: string) => narOf({ entries: { [seed]: Buffer.alloc(bytes, seed) } })

/** Waits for what the cache does in its own time. */
const eventually = (holds: () => boolean) =>
  Effect.repeat(
    Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve))),
    { until: holds }
  )

const inDirectory = (directory: string) =>
  fs.readdirSync(path.join(directory, "trees")).filter((name) => name !== ".boot")

describe("TreeCache", () => {
  it.effect("unpacks a NAR with canonical metadata", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const nars = narsInMemory()
      const hash = nars.add(narOf(tree))

      const [root = ""] = yield* checkout(hash).pipe(inCache(directory, nars))

      const names = fs.readdirSync(root, { encoding: "buffer" }).map((name) => name.toString("latin1"))
      assert.deepStrictEqual(names.sort(), ["bin", "empty", "file\xff", "link", "zero"])
      assert.strictEqual(fs.readFileSync(path.join(root, "bin/hello"), "utf8"), "#!/bin/sh\n")
      assert.strictEqual(fs.readlinkSync(path.join(root, "link")), "/outside")
      const stats = ["", "bin", "bin/hello", "empty", "link", "zero"].map((name) => fs.lstatSync(path.join(root, name)))
      assert.deepStrictEqual(
        stats.map(({ mtimeMs }) => mtimeMs),
        Array(6).fill(1000)
      )
      const modes = stats.filter((stat) => !stat.isSymbolicLink()).map(({ mode }) => (mode & 0o7777).toString(8))
      assert.deepStrictEqual(modes, ["555", "555", "555", "555", "444"])
    }).pipe(Effect.scoped)
  )

  it.effect("unpacks a NAR that is a single file, executable or not, or a symlink", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const nars = narsInMemory()
      const hashes = [narOf("text"), narOf({ executable: "program" }), narOf({ target: "nowhere" })].map(nars.add)

      const [file = "", program = "", link = ""] = yield* checkout(...hashes).pipe(inCache(directory, nars))

      assert.strictEqual(fs.readFileSync(file, "utf8"), "text")
      assert.strictEqual(fs.lstatSync(file).mode & 0o7777, 0o444)
      assert.strictEqual(fs.lstatSync(program).mode & 0o7777, 0o555)
      assert.strictEqual(fs.readlinkSync(link), "nowhere")
    }).pipe(Effect.scoped)
  )

  it.effect("unpacks what is deeper than a path may be long, and removes it again", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const nars = narsInMemory()
      let deep: Tree = "at the bottom"
      for (let depth = 0; depth < 60; depth++) deep = { entries: { ["d".repeat(250)]: deep } }
      const hash = nars.add(narOf(deep))

      yield* Effect.gen(function* () {
        yield* use(hash)
        yield* eventually(() => inDirectory(directory).length === 0)
      }).pipe(inCache(directory, nars, 0))
    }).pipe(Effect.scoped)
  )

  it.effect("unpacks once for all who ask at the same time, even if the first gives up", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const gate = yield* Deferred.make<void>()
      const nars = narsInMemory(Deferred.await(gate))
      const hash = nars.add(narOf(tree))

      yield* Effect.gen(function* () {
        const first = yield* Effect.forkChild(checkout(hash), { startImmediately: true })
        const second = yield* Effect.forkChild(checkout(hash, hash), { startImmediately: true })
        yield* Fiber.interrupt(first)
        yield* Deferred.succeed(gate, void 0)
        const [a = "", b = ""] = yield* Fiber.join(second)

        assert.strictEqual(a, b)
        assert.isTrue(fs.existsSync(a))
        assert.deepStrictEqual(nars.opened, [hash])
      }).pipe(inCache(directory, nars))
    }).pipe(Effect.scoped)
  )

  it.effect("removes the least recently used once they exceed the budget", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const nars = narsInMemory()
      const [a, b, c] = ["a", "b", "c"].map((seed) => nars.add(sized(100_000, seed))) as [Sha256, Sha256, Sha256]

      yield* Effect.gen(function* () {
        yield* use(a)
        yield* use(b)
        yield* use(a)
        yield* use(c)
        yield* eventually(() => inDirectory(directory).length === 2)
        assert.deepStrictEqual(
          inDirectory(directory)
            .map((name) => name.slice(0, 64))
            .sort(),
          [a, c].sort()
        )

        yield* use(b)
        assert.deepStrictEqual(nars.opened, [a, b, c, b])
      }).pipe(inCache(directory, nars, 250_000))
    }).pipe(Effect.scoped)
  )

  it.effect("keeps what somebody uses, whatever the budget, and only so long", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const nars = narsInMemory()
      const [a, b] = ["a", "b"].map((seed) => nars.add(sized(100_000, seed))) as [Sha256, Sha256]

      yield* Effect.gen(function* () {
        const scope = yield* Scope.make()
        const [held = ""] = yield* Scope.provide(checkout(a), scope)
        yield* use(b)
        yield* use(b)
        assert.isTrue(fs.existsSync(held))

        yield* Scope.close(scope, Exit.void)
        yield* eventually(() => inDirectory(directory).length === 0)
      }).pipe(inCache(directory, nars, 0))
    }).pipe(Effect.scoped)
  )

  it.effect("finds its trees again after a restart, but not those of another boot", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const nars = narsInMemory()
      const hash = nars.add(narOf(tree))

      const [before] = yield* checkout(hash).pipe(inCache(directory, nars))
      const [after] = yield* checkout(hash).pipe(inCache(directory, nars))
      assert.strictEqual(after, before)
      assert.deepStrictEqual(nars.opened, [hash])

      fs.writeFileSync(path.join(directory, "trees/.boot"), "another boot\n")
      yield* checkout(hash).pipe(inCache(directory, nars))
      assert.deepStrictEqual(nars.opened, [hash, hash])
    }).pipe(Effect.scoped)
  )

  it.effect("removes at its start what a killed server left half done", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const nars = narsInMemory()
      yield* Effect.void.pipe(inCache(directory, nars))
      fs.mkdirSync(path.join(directory, "trees/.new-half/locked"), { recursive: true })
      fs.chmodSync(path.join(directory, "trees/.new-half/locked"), 0o555)

      yield* eventually(() => inDirectory(directory).length === 0).pipe(
        Effect.andThen(TreeCache),
        inCache(directory, nars)
      )
    }).pipe(Effect.scoped)
  )

  it.effect("leaves nothing of a NAR that cannot be read, and tries again when asked again", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const nars = narsInMemory()
      const whole = narOf(tree)
      const hash = hashOf(whole)

      yield* Effect.gen(function* () {
        const error = yield* Effect.flip(checkout(hash))
        assert.deepInclude(error.cause, { _tag: "MissingNar" })

        nars.add(whole)
        yield* checkout(hash)
      }).pipe(inCache(directory, nars))
    }).pipe(Effect.scoped)
  )
})
