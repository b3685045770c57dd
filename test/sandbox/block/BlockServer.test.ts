import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, type Scope } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { Sha256 } from "../../../src/protocol/nix/Hash.ts"
import { BlockServer } from "../../../src/sandbox/block/BlockServer.ts"
import type { Closure } from "../../../src/sandbox/block/Control.ts"
import * as ServerJail from "../../../src/sandbox/block/ServerJail.ts"
import { SandboxError } from "../../../src/sandbox/SandboxError.ts"
import * as blockServer from "../../support/blockServer.ts"
import * as erofs from "../../support/erofs.ts"
import * as listed from "../../support/listed.ts"
import * as nbd from "../../support/nbd.ts"
import { familyOf, statusOf } from "../../support/ProcessTable.ts"
import * as processes from "../../support/processes.ts"
import type { Tree } from "../../support/trees.ts"

const file = (contents: string): Tree => ({ _tag: "File", executable: false, contents: Buffer.from(contents) })
const directory = (entries: { readonly [name: string]: Tree }): Tree => ({ _tag: "Directory", entries })

const trees: ReadonlyArray<Tree> = [
  directory({ bin: directory({ hello: file("hello"), link: { _tag: "Symlink", target: "hello" } }) }),
  directory({ large: file("large".repeat(100_000)), empty: file(""), small: file("small") }),
  file("a".repeat(20_000)),
  file("never read")
]

/** A store, and a server over it, for one test. */
const served = <A>(
  test: (given: {
    readonly store: blockServer.Store
    readonly socket: string
    readonly place: string
  }) => Effect.Effect<A, unknown, BlockServer | Scope.Scope>
) =>
  Effect.scoped(
    Effect.gen(function* () {
      const place = yield* processes.directory
      const store = new blockServer.Store(place)
      return yield* Effect.provide(
        test({ store, socket: path.join(place, "store.sock"), place }),
        blockServer.layer(store)
      )
    })
  )

const serve = Effect.fnUntraced(function* (closure: Closure, socket: string) {
  return yield* (yield* BlockServer).serve(closure, socket)
})

const connect = (socket: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const client = await nbd.connect(socket)
      return { client, size: await nbd.go(client) }
    }),
    ({ client }) => Effect.sync(() => client.socket.destroy())
  )

/** What the system says of the process that serves disks, among those that descend from this one. */
const serverOf = (root: number) => {
  const pid = familyOf(root).findLast(({ command }) => command.includes("blockServer.ts"))!.pid
  return Object.assign((field: string) => statusOf(pid, field) ?? "", { root: `/proc/${pid}/root` })
}

describe("BlockServer", { timeout: 10_000 }, () => {
  it.effect("serves a closure, and remembers what was read of it", () =>
    served(({ socket, store }) =>
      Effect.gen(function* () {
        const closure = store.closure(trees)
        const disk = yield* serve(closure, socket)
        const { client, size } = yield* connect(socket)
        assert.strictEqual(size, disk.sizeBytes)
        assert.isFalse(fs.existsSync(socket), "nobody else can come")
        assert.deepStrictEqual(yield* disk.readLog, [])

        const image = yield* Effect.promise(() => nbd.readAll(client, size))

        assert.deepStrictEqual(
          erofs.read(image).entries,
          Object.fromEntries(trees.map((tree, index) => [blockServer.pathOf(index), listed.found(tree)]))
        )
        assert.sameMembers(
          (yield* disk.readLog).map(({ path }) => path),
          closure.map(({ path }) => path)
        )
      })
    )
  )

  it.effect("tells the store paths apart in what was read", () =>
    served(({ socket, store }) =>
      Effect.gen(function* () {
        const closure = store.closure(trees)
        const disk = yield* serve(closure, socket)
        const { client, size } = yield* connect(socket)

        // The last block of a disk is that of its last file.
        yield* Effect.promise(() => nbd.read(client, size - 4096, 10))

        assert.deepStrictEqual(yield* disk.readLog, [{ path: blockServer.pathOf(3), bytes: 10 }])
      })
    )
  )

  it.effect("asks for what it does not know, and for nothing twice", () =>
    served(({ place, store }) =>
      Effect.gen(function* () {
        const closure = store.closure(trees)
        const [first, ...rest] = closure

        for (const [index, one] of [rest, closure, closure].entries()) {
          yield* Effect.scoped(serve(one, path.join(place, `${index}.sock`)))
        }

        assert.deepStrictEqual(store.asked, [rest.map(({ narHash }) => narHash), [first!.narHash]])
      })
    )
  )

  it.effect("closes the connection with the scope", () =>
    served(({ socket, store }) =>
      Effect.gen(function* () {
        const closure = store.closure(trees)
        const client = yield* Effect.scoped(
          Effect.gen(function* () {
            yield* serve(closure, socket)
            return yield* Effect.promise(() => nbd.connect(socket))
          })
        )

        yield* Effect.promise(() => client.closed)
        assert.isFalse(fs.existsSync(socket))
      })
    )
  )

  it.effect("answers what it cannot read with an error, and goes on", () =>
    served(({ socket, store }) =>
      Effect.gen(function* () {
        const closure = store.closure(trees)
        fs.truncateSync(store.fileOf(closure[2]!.narHash), 10)
        const disk = yield* serve(closure, socket)
        const { client, size } = yield* connect(socket)

        const refused = yield* Effect.exit(Effect.tryPromise(() => nbd.readAll(client, size)))
        const first = yield* Effect.promise(() => nbd.read(client, 0, 4096))

        assert.strictEqual(refused._tag, "Failure")
        assert.strictEqual(first.readUInt32LE(1024), 0xe0f5e1e2)
        assert.isAbove(disk.sizeBytes, 0)
      })
    )
  )

  it.effect("refuses a listing that is none, and what the store does not have", () =>
    served(({ socket, store }) =>
      Effect.gen(function* () {
        const one = store.closure(trees)[0]!
        store.damage(one.narHash, Buffer.from("no listing"))

        const damaged = yield* Effect.flip(Effect.scoped(serve([one], socket)))
        const absent = yield* Effect.flip(
          Effect.scoped(serve([{ ...one, narHash: Sha256.make("f".repeat(64)) }], socket))
        )

        assert.match(`${damaged}`, /listing of NAR/)
        assert.match(`${absent}`, /finding inputs/)
      })
    )
  )

  it.effect("loses the disks of a process that dies, and starts another for the next", () =>
    served(({ place, socket, store }) =>
      Effect.gen(function* () {
        const closure = store.closure(trees)
        const disk = yield* serve(closure, socket)
        const { client } = yield* connect(socket)

        for (const { command, pid } of familyOf(process.pid)) {
          if (command.includes("blockServer.ts")) process.kill(pid, "SIGKILL")
        }

        const lost = yield* Effect.flip(disk.lost)
        assert.match(`${lost}`, /has ended with SIGKILL/)
        assert.strictEqual(`${yield* Effect.flip(disk.readLog)}`, `${lost}`)
        yield* Effect.promise(() => client.closed)
        const again = yield* serve(closure, path.join(place, "again.sock"))
        assert.strictEqual(again.sizeBytes, disk.sizeBytes)
      })
    )
  )

  it.effect("runs as nobody else does, with nothing else in sight", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const programs = yield* processes.programs
        const data = yield* processes.directory
        const { subUids, userNamespaceFd } = yield* processes.started(programs, data)
        const nars = path.join(data, "nars")
        fs.mkdirSync(nars)
        const store = new blockServer.Store(nars)
        const launch = ServerJail.launch({
          launcher: path.join(programs, "launcher"),
          userNamespaceFd,
          id: subUids.count,
          narsDirectory: nars
        })
        if (launch instanceof SandboxError) return yield* launch
        const context = yield* Layer.build(blockServer.layer(store, launch))
        const socket = path.join(data, "store.sock")
        const disk = yield* Effect.provide(serve(store.closure(trees), socket), context)
        const { client, size } = yield* connect(socket)

        const image = yield* Effect.promise(() => nbd.readAll(client, size))
        const status = serverOf(process.pid)

        assert.lengthOf(Object.keys(erofs.read(image).entries), trees.length)
        assert.lengthOf(yield* disk.readLog, trees.length)
        // It starts a thread for one with as many files as this, which no filter keeps it from.
        const names = Array.from({ length: 6000 }, (_, index) => `${(index * 2654435761) % 2 ** 32}`)
        const many = directory(Object.fromEntries(names.map((name) => [name, file("")])))
        const large = serve(store.closure([many]), path.join(data, "large.sock"))
        assert.isAbove((yield* Effect.provide(large, context)).sizeBytes, 6000 * 32)
        const id = `${subUids.first + subUids.count - 1}`
        assert.deepStrictEqual(status("Uid").split("\t"), [id, id, id, id])
        assert.deepStrictEqual(status("Gid").split("\t"), [id, id, id, id])
        assert.strictEqual(status("CapEff"), "0".repeat(16))
        assert.strictEqual(status("NoNewPrivs"), "1")
        assert.strictEqual(status("Seccomp"), "2")
        const seen = fs.readdirSync(status.root)
        assert.includeMembers(["dev", "drover", "lib", "lib32", "lib64", "node", "tmp", "usr"], seen)
        assert.sameMembers(fs.readdirSync(`${status.root}/${data}`), ["nars"])
      })
    )
  )

  it.effect("hears of no path that was not to be seen", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const place = yield* processes.directory
        const store = new blockServer.Store(place)
        const closure = store.closure(trees)
        const [first, second] = closure.map(({ path }) => path)
        const inputs = [first, blockServer.pathOf(100), second, first].map((path, bytes) => ({ path, bytes }))
        // A process that says what it is told to say.
        const lies = `
          const answers = {
            Compose: { _tag: "Composed", sizeBytes: 4096 }, ReadLog: { _tag: "Read", inputs: ${JSON.stringify(inputs)} }
          }
          process.on("message", ({ _tag, disk }) => answers[_tag] && process.send({ ...answers[_tag], disk }))
          process.send({ _tag: "Ready" })`
        const launch = { ...blockServer.unjailed, command: [process.execPath, "-e", lies] }
        const context = yield* Layer.build(blockServer.layer(store, launch))

        const disk = yield* Effect.provide(serve(closure, path.join(place, "store.sock")), context)

        assert.deepStrictEqual(yield* disk.readLog, [
          { path: first!, bytes: 3 },
          { path: second!, bytes: 2 }
        ])
      })
    )
  )

  it.effect("says why it cannot be started", () =>
    Effect.gen(function* () {
      const place = yield* processes.directory
      const launch = { command: ["/nowhere/node"], environment: {}, namespaceFd: null, filter: null }
      const store = new blockServer.Store(place)

      const error = yield* Effect.flip(Effect.scoped(Layer.build(blockServer.layer(store, launch))))

      assert.match(`${error}`, /ENOENT/)
    })
  )
})
