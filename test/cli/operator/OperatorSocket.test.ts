/** The operator's commands reach the server through its socket, wherever that lies, and nobody else's do harm. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Schema } from "effect"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { Builds } from "../../../src/actors/build/Builds.ts"
import { start, startDrained } from "../../../src/actors/builder/HostLifecycle.ts"
import { Hosts, NoSuchHost } from "../../../src/actors/builder/Hosts.ts"
import { Quotas } from "../../../src/actors/quota/Quotas.ts"
import { run } from "../../../src/cli/drover.ts"
import * as OpenSshKey from "../../../src/cli/OpenSshKey.ts"
import { ask } from "../../../src/cli/operator/Client.ts"
import * as OperatorSocket from "../../../src/cli/operator/OperatorSocket.ts"
import { Account, type AccountName } from "../../../src/domain/Account.ts"
import { noUsage } from "../../../src/domain/Attempt.ts"
import type { Overrides } from "../../../src/domain/Quota.ts"
import { Host, HostId } from "../../../src/domain/Host.ts"
import {
  AccountRepository,
  AccountTaken,
  type AccountKey,
  ListedAccount
} from "../../../src/storage/AccountRepository.ts"
import { BuildDetails, BuildRecord, BuildRecords } from "../../../src/storage/BuildRecords.ts"
import { type Distrusted, DistrustRepository } from "../../../src/storage/DistrustRepository.ts"
import { Doctor } from "../../../src/storage/Doctor.ts"
import { LogStore } from "../../../src/storage/LogStore.ts"
import { QuotaRepository } from "../../../src/storage/QuotaRepository.ts"
import { ReadLogRepository } from "../../../src/storage/ReadLogRepository.ts"
import { ViewRepository } from "../../../src/storage/ViewRepository.ts"
import { fingerprint } from "../../../src/ssh/Authentication.ts"

/** Accounts in memory, a name each. */
const accounts = Layer.sync(AccountRepository, () => {
  const kept = new Map<AccountName, AccountKey>()
  const account = (name: string) => Account.make({ id: `id-${name}`, name, view: `view-${name}` } as never)
  return AccountRepository.of({
    create: (name, key) =>
      Effect.suspend(() => {
        if (kept.has(name)) return Effect.fail(new AccountTaken({ what: "name" }))
        kept.set(name, key)
        return Effect.succeed(account(name))
      }),
    addKey: () => Effect.void,
    findByKey: () => Effect.succeedNone,
    findByName: (name) => Effect.sync(() => (kept.has(name) ? Option.some(account(name)) : Option.none())),
    list: Effect.sync(() =>
      [...kept].map(([name, { comment, publicKey }]) =>
        ListedAccount.make({
          id: account(name).id,
          name,
          view: account(name).view,
          keys: [{ fingerprint: fingerprint(publicKey), comment }]
        })
      )
    )
  })
})

const build = BuildRecord.make({
  id: "01890000-0000-7000-8000-000000000000",
  derivation: "/nix/store/00000000000000000000000000000000-hello.drv",
  system: "x86_64-linux",
  state: "building",
  accounts: ["ann"],
  reusedFrom: null,
  attempts: [
    {
      host: HostId.make("local"),
      sandbox: "process",
      startedAt: "2026-01-01T00:00:00.000Z",
      endedAt: null,
      outcome: null,
      cores: 1,
      memoryBytes: 1024
    }
  ]
})

const encoded = { ...Schema.encodeSync(BuildRecord)(build), waits: null }

const details = BuildDetails.make({
  ...build,
  identity: "ab".repeat(32),
  name: "hello",
  status: null,
  message: null,
  createdAt: "2026-01-01T00:00:00.000Z",
  startedAt: null,
  endedAt: null,
  waiters: [{ account: "ann", since: "2026-01-01T00:00:00.000Z" }],
  reusedFrom: null,
  notReused: "asked for afresh",
  answered: [],
  answeredCount: 0,
  outputs: [],
  attempts: [
    {
      ...build.attempts[0]!,
      ...noUsage,
      id: "01890000-0000-7000-8000-000000000001",
      epoch: 1,
      versions: { executor: "1" },
      detail: null,
      limitSeconds: null,
      distrustedAt: null,
      logBytes: null
    }
  ]
})

/** As many builds as are asked for, all of them the same one. */
const builds = Layer.succeed(BuildRecords, {
  list: ({ limit }) => Effect.succeed(Array.from({ length: limit }, () => build)),
  find: (id) => Effect.succeed(id === build.id ? Option.some(details) : Option.none())
})

/** What was said to be distrusted. */
const taken: Array<Distrusted> = []
const distrust = Layer.succeed(DistrustRepository, {
  takeBack: (distrusted) =>
    Effect.sync(() => {
      taken.push(distrusted)
      return { attempts: 3, running: 1, resultCount: 0, results: [], holderCount: 0, holders: [] }
    })
})

/** One host, drained or not as it was last said. */
const hosts = Layer.sync(Hosts, () => {
  let isDrained = false
  const host = new Host({
    id: HostId.make("local"),
    systems: ["x86_64-linux"],
    features: [],
    cores: 4,
    memoryBytes: 2 ** 33,
    overheadBytes: 0
  })
  const named = (name: string, change: () => void) =>
    name === host.id ? Effect.sync(change) : Effect.fail(new NoSuchHost({ name, hosts: [host.id] }))
  return {
    list: Effect.sync(() => [{ host, state: (isDrained ? startDrained : start)[0], builders: 1 }]),
    drain: (name) => named(name, () => void (isDrained = true)),
    resume: (name) => named(name, () => void (isDrained = false)),
    finish: () => Effect.void
  }
})

/** A record in which nothing is wrong. */
const doctor = Layer.succeed(Doctor, {
  examine: Effect.succeed({ examined: { builds: 1, attempts: 1, nars: 0, events: 9 }, findings: [], notes: [] })
})

/** Quotas of accounts that store nothing. */
const quotas = Quotas.layer({ storedBytes: 2 ** 40 }).pipe(
  Layer.provide([
    Layer.sync(QuotaRepository, () => {
      let said: Overrides = {}
      return {
        find: () => Effect.sync(() => said),
        set: (_, name, amount) => Effect.sync(() => void (said = { ...said, [name]: amount })),
        unset: (_, name) =>
          Effect.sync(() => void (said = Object.fromEntries(Object.entries(said).filter(([key]) => key !== name))))
      }
    }),
    Layer.succeed(ViewRepository, { storedBytes: () => Effect.succeed(0) } as unknown as ViewRepository["Service"])
  ])
)

/** Of their other methods, no request has need. */
const others = Layer.mergeAll(
  doctor,
  hosts,
  quotas,
  Layer.succeed(Builds, { standing: () => Effect.succeed(null) } as unknown as Builds["Service"]),
  Layer.succeed(LogStore, { size: () => Effect.succeed(7) } as unknown as LogStore["Service"]),
  Layer.succeed(ReadLogRepository, { list: () => Effect.succeed([]) } as unknown as ReadLogRepository["Service"])
)

/** A server's socket in a directory whose path is too long for a socket's address. */
const served = Effect.gen(function* () {
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "drover-operator-"))),
    (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true }))
  )
  const dataDir = path.join(directory, "d".repeat(120))
  fs.mkdirSync(dataDir)
  yield* Layer.build(OperatorSocket.layer(dataDir).pipe(Layer.provide([accounts, builds, distrust, others])))
  return dataDir
})

describe("the operator", () => {
  it.live("adds accounts, and lists them", () =>
    Effect.gen(function* () {
      const dataDir = yield* served
      const { publicKey } = yield* OpenSshKey.generate("")
      const file = path.join(dataDir, "ann.pub")
      fs.writeFileSync(file, `${OpenSshKey.printPublic(publicKey, "ann here")}\n`)

      const said = yield* run(["accounts", "add", "ann", "--key", file, "--data-dir", dataDir])
      const listed = yield* run(["accounts", "list", "--data-dir", dataDir])
      const again = yield* Effect.flip(run(["accounts", "add", "ann", "--key", file, "--data-dir", dataDir]))

      assert.include(said, `account ann added, opened by ${fingerprint(publicKey)}`)
      assert.match(listed, /^ann +SHA256:\S+ +ann here$/m)
      assert.include(again.message, "expected a new name")
    })
  )

  it.live("says what an account may have, and sees it at once", () =>
    Effect.gen(function* () {
      const dataDir = yield* served
      const { publicKey } = yield* OpenSshKey.generate("")
      const file = path.join(dataDir, "ann.pub")
      fs.writeFileSync(file, `${OpenSshKey.printPublic(publicKey, "ann here")}\n`)
      const quotas = (...words: ReadonlyArray<string>) => run(["accounts", "quotas", ...words, "--data-dir", dataDir])
      assert.include((yield* Effect.flip(quotas("ann"))).message, "expected an account's name, found ann")
      yield* run(["accounts", "add", "ann", "--key", file, "--data-dir", dataDir])

      const before = yield* quotas("ann")
      assert.match(before, /^running +none +- +builds running at a time/m)
      assert.match(before, /^stored +1T +0 /m)

      const after = yield* quotas("ann", "running=4", "stored=11G", "log=none")
      assert.match(after, /^running +4 /m)
      assert.match(after, /^stored +11G /m)
      assert.match(after, /^log +none /m)
      assert.match(yield* quotas("ann", "stored=standard"), /^stored +1T /m)

      const message = (word: string) => Effect.map(Effect.flip(quotas("ann", word)), ({ message }) => message)
      assert.include(yield* message("storage=1"), "expected QUOTA=AMOUNT with a quota of connections")
      assert.include(yield* message("stored=-1"), `stored: expected a number, a size such as 11G`)
    })
  )

  it.live("lists builds as JSON with the names that the specification gives", () =>
    Effect.gen(function* () {
      const dataDir = yield* served

      const text = yield* run(["builds", "list", "--json", "--limit", "2", "--data-dir", dataDir])

      assert.deepStrictEqual(JSON.parse(text), [encoded, encoded])
    })
  )

  it.live("shows a build, with the log as long as it is by now", () =>
    Effect.gen(function* () {
      const dataDir = yield* served
      const asked = ["builds", "show", build.id, "--data-dir", dataDir]

      const text = yield* run(asked)
      const json = JSON.parse(yield* run([...asked, "--json"]))
      const other = yield* Effect.flip(run(["builds", "show", build.id.replace("0", "1"), "--data-dir", dataDir]))

      assert.match(text, /^not answered +by another: asked for afresh$/m)
      assert.match(text, /^ +on +local, process, epoch 1$/m)
      assert.match(text, /^ +log +7 bytes$/m)
      assert.deepInclude(json, { id: build.id, notReused: "asked for afresh", waits: null, inputsRead: [] })
      assert.strictEqual(json.attempts[0].logBytes, 7)
      assert.include(other.message, "expected the id of a build")
    })
  )

  it.live("lists hosts, and takes them out of service and back by their names", () =>
    Effect.gen(function* () {
      const dataDir = yield* served
      const where = ["--data-dir", dataDir]

      const before = yield* run(["hosts", "list", ...where])
      yield* run(["hosts", "drain", "local", ...where])
      const drained = JSON.parse(yield* run(["hosts", "list", "--json", ...where]))
      yield* run(["hosts", "resume", "local", ...where])
      const after = yield* run(["hosts", "list", ...where])
      const refused = yield* Effect.flip(run(["hosts", "drain", "remote", ...where]))

      assert.match(before, /^local +serving +1 +4 +8G +x86_64-linux$/m)
      const sizes = { cores: 4, memoryBytes: 2 ** 33, systems: ["x86_64-linux"] }
      assert.deepStrictEqual(drained, [{ id: "local", state: "drained", reason: null, builders: 1, ...sizes }])
      assert.strictEqual(after, before)
      assert.strictEqual(refused.message, 'expected a host of this service (local), found "remote"')
    })
  )

  it.live("takes results back by what is said of them, and by nothing less", () =>
    Effect.gen(function* () {
      const dataDir = yield* served
      const where = ["--data-dir", dataDir]

      const text = yield* run(["distrust", "--epoch", "3", "--before", "2026-01-01T00:00:00Z", ...where])
      yield* run(["distrust", "--host", "local", "--backend", "kvm", ...where])
      const refused = yield* Effect.flip(run(["distrust", "--before", "2026-01-01T00:00:00Z", ...where]))

      assert.include(text, "attempts taken back: 3, of which 1 still run")
      assert.deepStrictEqual(taken.splice(0), [
        { host: null, epoch: 3, backend: null, before: Date.UTC(2026, 0, 1) },
        { host: "local", epoch: null, backend: "kvm", before: null }
      ])
      assert.include(refused.message, "expected --host, --epoch or --backend")
    })
  )

  it.live("is refused a key that is none, in one line", () =>
    Effect.gen(function* () {
      const dataDir = yield* served
      const file = path.join(dataDir, "key")
      fs.writeFileSync(file, "ssh-rsa AAAA ann")

      const refused = yield* Effect.flip(run(["accounts", "add", "ann", "--key", file, "--data-dir", dataDir]))

      assert.include(refused.message, "ssh-ed25519 AAAA")
    })
  )

  it.live("is told clearly when no server runs", () =>
    Effect.gen(function* () {
      const refused = yield* Effect.flip(run(["builds", "list", "--data-dir", "/nonexistent/data"]))

      assert.include(refused.message, "expected a server running on /nonexistent/data, found none")
    })
  )

  it.live.each([
    "builds",
    "accounts add",
    "accounts add @ --key x",
    "builds list --limit 0",
    "builds show x",
    "distrust",
    "distrust --epoch x",
    "--what"
  ])("is told that %j is no command", (words) =>
    Effect.gen(function* () {
      const refused = yield* Effect.flip(run(words.split(" ")))

      assert.strictEqual(refused._tag, "UsageError")
    })
  )
})

/** What comes back for bytes that no client of ours would send. */
const speak = (dataDir: string, bytes: string | Uint8Array) =>
  Effect.callback<string>((resume) => {
    const descriptor = fs.openSync(dataDir, "r")
    const socket = net.connect(`/proc/self/fd/${descriptor}/drover.sock`, () => socket.write(bytes))
    let said = ""
    socket.on("data", (chunk) => (said += chunk.toString()))
    socket.on("error", () => undefined)
    socket.on("close", () => {
      fs.closeSync(descriptor)
      resume(Effect.succeed(said))
    })
  })

describe("the operator's socket", () => {
  it.live("belongs to the server's user alone", () =>
    Effect.gen(function* () {
      const dataDir = yield* served

      assert.strictEqual(fs.statSync(path.join(dataDir, "drover.sock")).mode & 0o777, 0o600)
    })
  )

  it.live("survives what is no request", () =>
    Effect.gen(function* () {
      const dataDir = yield* served

      assert.include(yield* speak(dataDir, "nonsense\n"), "refused")
      assert.include(yield* speak(dataDir, '{"_tag":"ListBuilds","limit":1000000000}\n'), "refused")
      assert.strictEqual(yield* speak(dataDir, Buffer.alloc(100_000, 65)), "")
      assert.lengthOf(yield* ask(dataDir, "ListAccounts", {}), 0)
    })
  )

  it.live("is taken over from a server that was killed", () =>
    Effect.gen(function* () {
      const dataDir = yield* served
      fs.rmSync(path.join(dataDir, "drover.sock"))
      fs.writeFileSync(path.join(dataDir, "drover.sock"), "")

      yield* Layer.build(OperatorSocket.layer(dataDir).pipe(Layer.provide([accounts, builds, distrust, others])))

      assert.lengthOf(yield* ask(dataDir, "ListAccounts", {}), 0)
    })
  )
})
