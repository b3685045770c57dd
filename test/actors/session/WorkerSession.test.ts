import { assert, layer } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import * as fs from "node:fs"
import * as WorkerSession from "../../../src/actors/session/WorkerSession.ts"
import type * as Derivation from "../../../src/protocol/nix/Derivation.ts"
import * as OutputPaths from "../../../src/protocol/nix/OutputPaths.ts"
import * as Codec from "../../../src/protocol/wire/Codec.ts"
import * as Source from "../../../src/protocol/wire/Source.ts"
import * as Version from "../../../src/protocol/worker/Version.ts"
import { ViewRepository } from "../../../src/storage/ViewRepository.ts"
import { conversations } from "../../support/golden.ts"
import { narOf } from "../../support/nar.ts"
import { type Recording, walk } from "../../support/recording.ts"
import {
  connect,
  built,
  builds,
  framed,
  infoOf,
  newPath,
  SessionServices,
  workerClient
} from "../../support/sessions.ts"
import { freshAccount } from "../../support/store.ts"

const text = (bytes: Uint8Array | bigint | undefined) =>
  bytes instanceof Uint8Array ? new TextDecoder().decode(bytes) : `${bytes}`
const quiet = { repair: false, dontCheckSignatures: true }
const hello = narOf("hello")

const output = newPath("out")
const derivation: Derivation.BasicDerivation = {
  outputs: [["out", { _tag: "InputAddressed", path: output }]],
  inputSources: [],
  system: "x86_64-linux",
  builder: Buffer.from("/bin/sh"),
  arguments: [],
  environment: []
}
const build = { path: newPath("hello.drv"), derivation, mode: "normal" } as const

// The database is not of the test clock.
layer(SessionServices, { excludeTestServices: true, timeout: "1 minute" })("a worker session", (it) => {
  for (const eager of [true, false]) {
    it.effect(`greets clients that send their version ${eager ? "at once" : "after ours"}`, () =>
      Effect.gen(function* () {
        const { client, exitStatus, server } = yield* workerClient(yield* freshAccount, { eager })

        assert.deepStrictEqual(server, {
          version: 0x0126,
          features: ["realisation-with-path-not-hash", "delete-dead-specific-referrers"],
          nixVersion: WorkerSession.nixVersion,
          trust: "trusted"
        })
        yield* client.end
        assert.strictEqual(yield* exitStatus, 0)
      })
    )
  }

  it.effect("names the version that the package has", () =>
    Effect.sync(() => {
      const { version } = JSON.parse(fs.readFileSync("package.json", "utf8"))

      assert.include(WorkerSession.nixVersion, `(drover ${version})`)
    })
  )

  it.effect("says on stderr why it cannot speak with what is no client", () =>
    Effect.gen(function* () {
      const { client, exitStatus } = yield* connect(yield* freshAccount, WorkerSession.run)
      yield* client.send(Buffer.from("GET / HTTP/1.1\r\n\r\n"))

      assert.strictEqual(yield* exitStatus, 1)
      assert.match(client.errors(), /^drover: expected .*, found .*\n$/)
    })
  )

  it.effect("refuses a count that nobody has, and ends, since it cannot know what follows", () =>
    Effect.gen(function* () {
      const { agreed, answer, client, exitStatus } = yield* workerClient(yield* freshAccount)

      yield* client.send(Codec.encode(Codec.u64, 31n, agreed))
      yield* client.send(Codec.encode(Codec.u64, 2n ** 60n, agreed))

      assert.match((yield* answer("QueryValidPaths")).error ?? "", /expected at most/)
      assert.strictEqual(yield* exitStatus, 1)
    })
  )

  it.effect("answers an operation that is none with an error, and ends", () =>
    Effect.gen(function* () {
      const { agreed, answer, client, exitStatus } = yield* workerClient(yield* freshAccount)

      yield* client.send(Codec.encode(Codec.u64, 1000n, agreed))

      assert.strictEqual((yield* answer("IsValidPath")).error, "invalid operation 1000")
      assert.strictEqual(yield* exitStatus, 1)
    })
  )

  it.effect("says before its contents that a path is not valid, and goes on", () =>
    Effect.gen(function* () {
      const { ask } = yield* workerClient(yield* freshAccount, { version: 0x0110 })
      const path = newPath("nothing")

      for (const name of ["NarFromPath", "QueryPathInfo", "EnsurePath"] as const) {
        assert.strictEqual((yield* ask(name, { path })).error, `path '/nix/store/${path}' is not valid`)
      }
      assert.deepStrictEqual((yield* ask("QueryValidPaths", { paths: [path], substitute: false })).response, [])
    })
  )

  it.effect("tells a build's log as it comes, then its result with the outputs as each client reads them", () =>
    Effect.gen(function* () {
      builds.answer = () =>
        builds.saying([{ _tag: "Log", bytes: Buffer.from("one\ntwo\n") }], {
          ...built,
          outputs: [{ name: "out", path: output }]
        })
      const hash = OutputPaths.basicRealisationHash("hello", derivation)

      for (const features of [[], ["realisation-with-path-not-hash"]]) {
        const { ask } = yield* workerClient(yield* freshAccount, { features })
        const { messages, response } = yield* ask("BuildDerivation", build)
        if (response === null) throw new Error("no response")

        assert.deepStrictEqual(
          messages.map((message) => (message._tag === "Result" ? text(message.fields[0]) : message._tag)),
          ["StartActivity", "one", "two", "StopActivity"]
        )
        assert.strictEqual(response.status, "Built")
        assert.deepStrictEqual(
          response.builtOutputs.map(({ name, path }) => [name, path]),
          [["out", output]]
        )
        if (features.length === 0) assert.strictEqual(response.builtOutputs[0]?.hash, hash)
        assert.deepStrictEqual([response.startTime, response.stopTime], [built.startedAt, built.endedAt])
        assert.deepStrictEqual([response.cpuUserMicroseconds, response.cpuSystemMicroseconds], [5, null])
      }
    })
  )

  it.effect("tells of a failed build as a result", () =>
    Effect.gen(function* () {
      builds.answer = () =>
        builds.saying([], { ...built, status: "PermanentFailure", message: "builder failed with exit code 1" })
      const { ask } = yield* workerClient(yield* freshAccount)

      const { response } = yield* ask("BuildDerivation", build)

      assert.deepStrictEqual(
        [response?.status, response?.error],
        ["PermanentFailure", "builder failed with exit code 1"]
      )
    })
  )

  it.effect("passes on what a client asks of its builds", () =>
    Effect.gen(function* () {
      builds.answer = () => builds.saying([], built)
      const account = yield* freshAccount
      const { ask } = yield* workerClient(account)
      yield* ask("SetOptions", {
        keepFailed: false,
        keepGoing: false,
        tryFallback: false,
        verbosity: 0n,
        buildJobsMax: 1n,
        silenceSecondsMax: 3n,
        useBuildHook: 1n,
        buildVerbosity: 0n,
        logType: 0n,
        printBuildTrace: 0n,
        buildCores: 0n,
        useSubstitutes: false,
        overrides: [["timeout", "8"]]
      })
      yield* ask("BuildDerivation", { ...build, mode: "check" })

      const request = builds.requests.at(-1)!
      assert.deepStrictEqual(request.limits, { timeoutSeconds: 8, silenceSecondsMax: 3, logBytesMax: null })
      assert.deepStrictEqual([request.account, request.derivationPath, request.check], [account, build.path, true])
    })
  )

  for (const how of ["end", "close"] as const) {
    it.effect(`leaves a build whose client is gone (${how})`, () =>
      Effect.gen(function* () {
        const begun = yield* Deferred.make<void>()
        builds.answer = () => builds.endless(begun)
        const left = builds.left
        const { client, exitStatus, send } = yield* workerClient(yield* freshAccount)
        yield* send("BuildDerivation", build)
        yield* Deferred.await(begun)

        yield* client[how]
        yield* exitStatus

        assert.strictEqual(builds.left, left + 1)
      })
    )
  }

  it.effect("answers by path what is there, and says that the rest is not built", () =>
    Effect.gen(function* () {
      const { ask } = yield* workerClient(yield* freshAccount)
      const drv = Buffer.from(`Derive([("out","/nix/store/${output}","","")],[],[],"x86_64-linux","/bin/sh",[],[])`)
      const file = (yield* ask(
        "AddToStore",
        {
          name: "hello.drv",
          address: { method: "text", algorithm: "sha256" },
          references: [],
          repair: false
        },
        framed(drv)
      )).response
      const path = typeof file === "string" || file === null ? newPath("none") : file.path
      const opaque = { _tag: "Opaque", path } as const
      const target = { _tag: "Built", derivation: path, via: [], outputs: "all" } as const
      const missing = { _tag: "Opaque", path: newPath("missing") } as const

      const asked = { targets: [opaque, target, missing], mode: "normal" } as const
      const before = yield* ask("BuildPathsWithResults", asked)
      const failed = yield* ask("BuildPaths", { targets: [target], mode: "normal" })
      const plan = yield* ask("QueryMissing", { targets: asked.targets })
      yield* ask("AddToStoreNar", { info: infoOf(output, hello), ...quiet }, framed(hello))
      const after = yield* ask("BuildPathsWithResults", asked)
      const map = yield* ask("QueryDerivationOutputMap", { path })

      const statuses = (results: typeof before) => results.response?.map(({ result }) => result.status)
      assert.deepStrictEqual(statuses(before), ["AlreadyValid", "MiscFailure", "NoSubstituters"])
      assert.match(failed.error ?? "", /remote store builds are not supported yet/)
      assert.deepStrictEqual([plan.response?.willBuild, plan.response?.unknown], [[path], [missing.path]])
      assert.deepStrictEqual(statuses(after), ["AlreadyValid", "AlreadyValid", "NoSubstituters"])
      assert.deepStrictEqual(
        after.response?.[1]?.result.builtOutputs.map((one) => one.path),
        [output]
      )
      assert.deepStrictEqual(map.response, [["out", output]])
    })
  )

  it.effect("keeps realisations, in both their forms", () =>
    Effect.gen(function* () {
      const account = yield* freshAccount
      const old = yield* workerClient(account)
      const recent = yield* workerClient(account, { features: Version.offered })
      const info = infoOf(newPath("made"), hello)
      yield* old.ask("AddToStoreNar", { info, ...quiet }, framed(hello))
      const id = { hash: info.narHash, output: "out" }
      const realisation = { id, outPath: info.path, signatures: [], dependentRealisations: [] }
      const keyed = { derivation: newPath("made.drv"), output: "out", outPath: info.path, signatures: [] }

      yield* old.ask("RegisterDrvOutput", { realisation })
      yield* recent.ask("RegisterDrvOutput", { realisation: keyed })

      assert.deepStrictEqual((yield* old.ask("QueryRealisation", { id })).response, [realisation])
      const { derivation, output } = keyed
      assert.deepStrictEqual((yield* recent.ask("QueryRealisation", { derivation, output })).response, {
        outPath: info.path,
        signatures: []
      })
      const none = yield* recent.ask("QueryRealisation", { derivation, output: "dev" })
      assert.strictEqual(none.response, null)
      const nowhere = { ...realisation, id: { ...id, output: "dev" }, outPath: newPath("nowhere") }
      assert.match((yield* old.ask("RegisterDrvOutput", { realisation: nowhere })).error ?? "", /is not valid/)
    })
  )

  it.effect("refuses what would look after a store that many share", () =>
    Effect.gen(function* () {
      const { ask } = yield* workerClient(yield* freshAccount)
      const path = newPath("x")

      const refused = [
        yield* ask("CollectGarbage", {
          action: "deleteDead",
          scope: null,
          ignoreLiveness: false,
          freedMax: 2n ** 64n - 1n
        }),
        yield* ask("AddPermRoot", { path, root: "/root" }),
        yield* ask("VerifyStore", { checkContents: true, repair: true }),
        yield* ask("AddBuildLog", { derivation: build.path }, framed(Buffer.from("log"))),
        yield* ask("BuildDerivation", { ...build, mode: "repair" })
      ]

      for (const { error } of refused) assert.isString(error)
      assert.isFalse((yield* ask("VerifyStore", { checkContents: true, repair: false })).response)
    })
  )

  it.effect("holds back a download that nobody reads", () =>
    Effect.gen(function* () {
      const { answer, ask, client, send } = yield* workerClient(yield* freshAccount)
      const large = narOf(Buffer.alloc(8 * 1024 * 1024, "large"))
      const info = infoOf(newPath("large"), large)
      yield* ask("AddToStoreNar", { info, ...quiet }, framed(large, 60_000))

      yield* send("NarFromPath", { path: info.path })
      yield* answer("NarFromPath")
      yield* Effect.yieldNow.pipe(Effect.repeat({ times: 1000 }))

      assert.isBelow(client.unread(), 3 * 1024 * 1024)
      assert.deepStrictEqual(Buffer.from(yield* Source.take(client.input, large.length)), large)
      assert.isTrue((yield* ask("IsValidPath", { path: info.path })).response)
    })
  )

  // Those of which nothing was cut off when they were recorded; what is pulled, the walk does not know of.
  const isWhole = (recording: Recording) =>
    walk(recording).complete && !(recording.client === "2.3.7" && recording.case === "copy-to-ng")
  for (const recording of conversations("worker").filter(isWhole)) {
    it.effect(`answers all that Nix ${recording.client} asked in ${recording.case}`, () =>
      Effect.gen(function* () {
        builds.answer = () => builds.saying([], built)
        const account = yield* freshAccount
        const { client, exitStatus } = yield* connect(account, WorkerSession.run, { windowBytes: Infinity })
        yield* client.send(recording.toServer)
        yield* client.end
        yield* exitStatus

        const heard = yield* client.rest
        const { complete, steps } = walk({ ...recording, toClient: heard })

        assert.isTrue(complete)
        assert.deepStrictEqual(
          steps.map(({ name }) => name),
          recording.operations
        )
        const failed = steps.filter(({ response }) => response === null).map(({ name }) => name)
        // What the recorded server had built is not here.
        assert.deepStrictEqual(
          failed.filter((name) => name !== "NarFromPath"),
          []
        )
        const valid = yield* (yield* ViewRepository).all(account.view)
        assert.strictEqual(
          valid.length > 0,
          recording.operations.some((name) => name.startsWith("Add") && recording.case !== "build-ng-already")
        )
      })
    )
  }
})
