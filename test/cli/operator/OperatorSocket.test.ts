/** The operator's commands reach the server through its socket, wherever that lies, and nobody else's do harm. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { run } from "../../../src/cli/drover.ts"
import * as OpenSshKey from "../../../src/cli/OpenSshKey.ts"
import * as Client from "../../../src/cli/operator/Client.ts"
import * as OperatorSocket from "../../../src/cli/operator/OperatorSocket.ts"
import { Account, type AccountName } from "../../../src/domain/Account.ts"
import {
  AccountRepository,
  AccountTaken,
  type AccountKey,
  ListedAccount
} from "../../../src/storage/AccountRepository.ts"
import { BuildRecord, BuildRecords } from "../../../src/storage/BuildRecords.ts"
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
    findByName: () => Effect.succeedNone,
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
      sandbox: "process",
      startedAt: "2026-01-01T00:00:00.000Z",
      endedAt: null,
      outcome: null,
      cores: 1,
      memoryBytes: 1024
    }
  ]
})

const encoded = Schema.encodeSync(BuildRecord)(build)

/** As many builds as are asked for. Of the repository's other methods, no request has need. */
const builds = Layer.succeed(BuildRecords, {
  list: ({ limit }: { readonly limit: number }) => Effect.succeed(Array.from({ length: limit }, () => build))
} as unknown as BuildRecords["Service"])

/** A server's socket in a directory whose path is too long for a socket's address. */
const served = Effect.gen(function* () {
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "drover-operator-"))),
    (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true }))
  )
  const dataDir = path.join(directory, "d".repeat(120))
  fs.mkdirSync(dataDir)
  yield* Layer.build(OperatorSocket.layer(dataDir).pipe(Layer.provide([accounts, builds])))
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

  it.live("lists builds as JSON with the names that the specification gives", () =>
    Effect.gen(function* () {
      const dataDir = yield* served

      const text = yield* run(["builds", "list", "--json", "--limit", "2", "--data-dir", dataDir])

      assert.deepStrictEqual(JSON.parse(text), [encoded, encoded])
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

  it.live.each(["builds", "accounts add", "accounts add @ --key x", "builds list --limit 0", "--what"])(
    "is told that %j is no command",
    (words) =>
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
      assert.lengthOf(yield* Client.listAccounts(dataDir), 0)
    })
  )

  it.live("is taken over from a server that was killed", () =>
    Effect.gen(function* () {
      const dataDir = yield* served
      fs.rmSync(path.join(dataDir, "drover.sock"))
      fs.writeFileSync(path.join(dataDir, "drover.sock"), "")

      yield* Layer.build(OperatorSocket.layer(dataDir).pipe(Layer.provide([accounts, builds])))

      assert.lengthOf(yield* Client.listAccounts(dataDir), 0)
    })
  )
})
