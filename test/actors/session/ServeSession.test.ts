import { assert, layer } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import * as ServeSession from "../../../src/actors/session/ServeSession.ts"
import type { BasicDerivation } from "../../../src/protocol/nix/Derivation.ts"
import type { PathInfo } from "../../../src/protocol/nix/PathInfo.ts"
import type { StorePath } from "../../../src/protocol/nix/StorePath.ts"
import type { BuildOptions } from "../../../src/protocol/serve/Command.ts"
import * as ExportedPath from "../../../src/protocol/serve/ExportedPath.ts"
import * as Codec from "../../../src/protocol/wire/Codec.ts"
import * as Source from "../../../src/protocol/wire/Source.ts"
import { ViewRepository } from "../../../src/storage/ViewRepository.ts"
import { Refused } from "../../../src/actors/build/Refused.ts"
import { conversations } from "../../support/golden.ts"
import { narOf } from "../../support/nar.ts"
import { walk } from "../../support/recording.ts"
import { built, builds, connect, infoOf, newPath, serveClient, SessionServices } from "../../support/sessions.ts"
import { freshAccount } from "../../support/store.ts"

const hello = narOf("hello")
const ask = { lock: true, substitute: false }

const options: BuildOptions = {
  silenceSecondsMax: 0,
  secondsMax: 0,
  logBytesMax: 0n,
  repetitions: 0,
  enforceDeterminism: false,
  keepFailed: false
}
const output = newPath("out")
const derivation: BasicDerivation = {
  outputs: [["out", { _tag: "InputAddressed", path: output }]],
  inputSources: [],
  system: "x86_64-linux",
  builder: Buffer.from("/bin/sh"),
  arguments: [],
  environment: []
}
const build = { path: newPath("hello.drv"), derivation, options }

// The database is not of the test clock.
layer(SessionServices, { excludeTestServices: true, timeout: "1 minute" })("a serve session", (it) => {
  for (const version of [0x0205, 0x0206, 0x0207, 0x0208]) {
    it.effect(`takes a path from a client of 2.${version & 0xff}, says what it knows, and gives it back`, () =>
      Effect.gen(function* () {
        const { ask, client, exitStatus, send } = yield* serveClient(yield* freshAccount, { version })
        const leaf = infoOf(newPath("leaf"), hello)
        const info = infoOf(newPath("hello"), hello, { references: [leaf.path] })

        yield* ask("AddToStoreNar", { info: leaf }, hello)
        yield* ask("AddToStoreNar", { info }, hello)
        const infos = yield* ask("QueryPathInfos", { paths: [info.path, newPath("none")] })
        const closure = yield* ask("QueryClosure", { includeOutputs: false, paths: [info.path] })
        yield* send("DumpStorePath", { path: info.path })
        const nar = yield* Source.take(client.input, hello.length)

        assert.deepStrictEqual(
          infos.map(({ narHash, path, references }) => [path, narHash, references]),
          [[info.path, info.narHash, info.references]]
        )
        assert.deepStrictEqual(closure, [leaf.path, info.path].sort())
        assert.deepStrictEqual(Buffer.from(nar), hello)
        yield* client.end
        assert.strictEqual(yield* exitStatus, 0)
        assert.strictEqual(client.errors(), "")
      })
    )
  }

  it.effect("answers commands that were sent at once, in order, and also after the client has ended", () =>
    Effect.gen(function* () {
      const { answer, client, exitStatus, send } = yield* serveClient(yield* freshAccount)
      const info = infoOf(newPath("hello"), hello)

      yield* send("QueryValidPaths", { ...ask, paths: [info.path] })
      yield* send("AddToStoreNar", { info }, hello)
      yield* send("QueryValidPaths", { ...ask, paths: [info.path] })
      yield* client.end

      assert.deepStrictEqual(yield* answer("QueryValidPaths"), [])
      yield* answer("AddToStoreNar")
      assert.deepStrictEqual(yield* answer("QueryValidPaths"), [info.path])
      assert.strictEqual(yield* exitStatus, 0)
    })
  )

  it.effect("changes nothing without --write", () =>
    Effect.gen(function* () {
      const account = yield* freshAccount
      const writer = yield* serveClient(account)
      const info = infoOf(newPath("hello"), hello)
      yield* writer.ask("AddToStoreNar", { info }, hello)
      const reader = yield* serveClient(account, { writable: false })

      assert.deepStrictEqual(yield* reader.ask("QueryValidPaths", { ...ask, paths: [info.path] }), [info.path])
      yield* reader.send("AddToStoreNar", { info: infoOf(newPath("more"), hello) }, hello)

      assert.strictEqual(yield* reader.exitStatus, 1)
      assert.strictEqual(reader.client.errors(), "error: AddToStoreNar needs 'nix-store --serve --write'\n")
    })
  )

  const contents = Buffer.alloc(100_000, "contents")
  const honest = narOf(contents)
  const oversized = Buffer.from(honest)
  oversized.writeBigUInt64LE(2n ** 62n, honest.indexOf("contents") + 8)
  const lies: ReadonlyArray<readonly [string, (path: StorePath) => readonly [PathInfo, Uint8Array], RegExp]> = [
    [
      "another hash",
      (path) => [infoOf(path, honest, { narHash: infoOf(path, hello).narHash }), honest],
      /hash mismatch/
    ],
    ["another size", (path) => [infoOf(path, honest, { narSize: honest.length + 8 }), honest], /size mismatch/],
    ["an endless file", (path) => [infoOf(path, honest, { narSize: 2 ** 52 }), oversized], /expected/],
    ["what is no NAR", (path) => [infoOf(path, honest), Buffer.alloc(100_000, 0x5a)], /expected/],
    ["half a NAR", (path) => [infoOf(path, honest), honest.subarray(0, 50_000)], /expected/],
    [
      "a reference to nothing",
      (path) => [infoOf(path, honest, { references: [newPath("nothing")] }), honest],
      /is not valid/
    ]
  ]
  for (const [name, lie, expected] of lies) {
    it.effect(`refuses ${name} in one line, and ends`, () =>
      Effect.gen(function* () {
        const account = yield* freshAccount
        const { client, exitStatus, send } = yield* serveClient(account)
        const [info, bytes] = lie(newPath("lie"))

        yield* send("AddToStoreNar", { info }, bytes)
        yield* client.end

        assert.strictEqual(yield* exitStatus, 1)
        assert.match(client.errors(), expected)
        assert.match(client.errors(), /^error: [^\n]*\n$/)
        assert.strictEqual(client.unread(), 0)
        assert.deepStrictEqual(yield* (yield* ViewRepository).all(account.view), [])
      })
    )
  }

  it.effect("ends on a count that nobody has, a command that is none, and a path that is not valid", () =>
    Effect.gen(function* () {
      const said = [
        [Codec.encode(Codec.u64, 2n, 0), Codec.encode(Codec.u64, 2n ** 60n, 0)],
        [Codec.encode(Codec.u64, 5n, 0)],
        [Codec.encode(Codec.u64, 3n, 0), Codec.encode(Codec.text, `/nix/store/${newPath("x")}`, 0)]
      ]
      const heard = [/expected at most/, /unknown serve command 5/, /path '.*-x' is not valid/]
      for (const [index, bytes] of said.entries()) {
        const { client, exitStatus } = yield* serveClient(yield* freshAccount)
        yield* client.send(Buffer.concat(bytes))

        assert.strictEqual(yield* exitStatus, 1)
        assert.match(client.errors(), heard[index]!)
      }
    })
  )

  it.effect("takes an export of several paths", () =>
    Effect.gen(function* () {
      const account = yield* freshAccount
      const { ask } = yield* serveClient(account)
      const leaf = newPath("leaf")
      const top = newPath("top")
      const exported = (
        [
          [leaf, []],
          [top, [leaf]]
        ] as const
      ).flatMap(([path, references]) => [
        Codec.encode(ExportedPath.More, true, 0),
        hello,
        Codec.encode(ExportedPath.Trailer, { magic: null, path, references, deriver: null, signature: null }, 0)
      ])

      yield* ask("ImportPaths", null, Buffer.concat([...exported, Codec.encode(ExportedPath.More, false, 0)]))

      const closure = yield* (yield* ViewRepository).closure(account.view, [top])
      assert.sameMembers(
        closure.map(({ path }) => path),
        [leaf, top]
      )
      assert.isTrue(closure.every(({ assured }) => !assured))
    })
  )

  it.effect("writes a build's log to stderr as it is, and its result with the limits it was asked for", () =>
    Effect.gen(function* () {
      builds.answer = () =>
        builds.saying([{ _tag: "Log", bytes: Buffer.from("one\r\n@nix {\nlast") }], {
          ...built,
          outputs: [{ name: "out", path: output }]
        })
      for (const version of [0x0205, 0x0207, 0x0208]) {
        const { ask, client } = yield* serveClient(yield* freshAccount, { version })
        const limited = { ...options, secondsMax: 8, silenceSecondsMax: 3, logBytesMax: 2n ** 60n }

        const result = yield* ask("BuildDerivation", { ...build, options: limited })

        assert.strictEqual(client.errors(), "one\r\n@nix {\nlast\n")
        assert.strictEqual(result.status, "Built")
        const names = result.builtOutputs.map(({ name, path }) => [name, path])
        assert.deepStrictEqual(names, version < 0x0206 ? [] : [["out", output]])
        assert.deepStrictEqual(builds.requests.at(-1)?.limits, {
          timeoutSeconds: 8,
          silenceSecondsMax: 3,
          logBytesMax: null
        })
      }
    })
  )

  it.effect("tells of a build that was refused as a result, and goes on", () =>
    Effect.gen(function* () {
      builds.answer = () => Effect.fail(new Refused({ status: "InputRejected", detail: "no such system" }))
      const { ask } = yield* serveClient(yield* freshAccount)

      const result = yield* ask("BuildDerivation", build)

      assert.deepStrictEqual([result.status, result.error], ["InputRejected", "no such system"])
      assert.deepStrictEqual(yield* ask("QueryValidPaths", { lock: false, substitute: false, paths: [] }), [])
    })
  )

  it.effect("builds nothing by path, and says so with a status that no client takes for success", () =>
    Effect.gen(function* () {
      const { ask } = yield* serveClient(yield* freshAccount)
      const info = infoOf(newPath("there"), hello)
      yield* ask("AddToStoreNar", { info }, hello)

      assert.isNull(yield* ask("BuildPaths", { targets: [`/nix/store/${info.path}`], options }))
      const missing = yield* ask("BuildPaths", { targets: [`/nix/store/${newPath("x.drv")}!out`], options })
      assert.strictEqual(missing?.status, "NoSubstituters")
    })
  )

  for (const how of ["end", "close"] as const) {
    it.effect(`leaves a build whose client is gone (${how})`, () =>
      Effect.gen(function* () {
        const begun = yield* Deferred.make<void>()
        builds.answer = () => builds.endless(begun)
        const left = builds.left
        const { client, exitStatus, send } = yield* serveClient(yield* freshAccount)
        yield* send("BuildDerivation", build)
        yield* Deferred.await(begun)

        yield* client[how]
        yield* exitStatus

        assert.strictEqual(builds.left, left + 1)
      })
    )
  }

  // Those of which nothing was cut off when they were recorded.
  for (const recording of conversations("serve").filter((recording) => walk(recording).complete)) {
    it.effect(`answers all that Nix ${recording.client} asked in ${recording.case}`, () =>
      Effect.gen(function* () {
        builds.answer = () => builds.saying([], built)
        const account = yield* freshAccount
        const { client, exitStatus } = yield* connect(
          account,
          (channel) => ServeSession.run(channel, { writable: true }),
          {
            windowBytes: Infinity
          }
        )
        // What the recorded server had built is not here: there, the conversation ends.
        const hasBuilt = recording.operations.includes("DumpStorePath")
        yield* client.send(recording.toServer)
        yield* client.end

        assert.strictEqual(yield* exitStatus, hasBuilt ? 1 : 0)
        const { steps } = walk({ ...recording, toClient: yield* client.rest })
        assert.deepStrictEqual(
          steps.map(({ name }) => name),
          recording.operations
        )
      })
    )
  }
})
