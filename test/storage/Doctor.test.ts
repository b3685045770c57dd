import { assert, layer } from "@effect/vitest"
import { Clock, Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import * as fs from "node:fs"
import * as path from "node:path"
import type { AccountId } from "../../src/domain/Account.ts"
import { AttemptId, noUsage } from "../../src/domain/Attempt.ts"
import { BuildId } from "../../src/domain/BuildId.ts"
import type { Event } from "../../src/domain/Event.ts"
import { HostId } from "../../src/domain/Host.ts"
import { LeaseId } from "../../src/domain/Lease.ts"
import * as Source from "../../src/protocol/wire/Source.ts"
import { AccountRepository } from "../../src/storage/AccountRepository.ts"
import * as FileBlobStore from "../../src/storage/blob/FileBlobStore.ts"
import { BuildRepository } from "../../src/storage/BuildRepository.ts"
import { Doctor } from "../../src/storage/Doctor.ts"
import { EventRepository } from "../../src/storage/EventRepository.ts"
import { LogStore } from "../../src/storage/LogStore.ts"
import { NarStore } from "../../src/storage/NarStore.ts"
import { Tenure } from "../../src/storage/Tenure.ts"
import { hashOf, narOf } from "../support/nar.ts"
import { TestDatabase } from "../support/postgres.ts"
import { freshAccount, path as storePath } from "../support/store.ts"

const directory = fs.mkdtempSync("/tmp/drover-test-doctor-")
const blobs = FileBlobStore.layer(directory)

const Storage = Doctor.layer.pipe(
  Layer.provide(blobs),
  Layer.provideMerge(
    Layer.mergeAll(
      AccountRepository.layer,
      BuildRepository.layer,
      EventRepository.layer,
      LogStore.layer(directory),
      NarStore.layer.pipe(Layer.provide(blobs))
    )
  ),
  Layer.provideMerge(TestDatabase),
  Layer.provideMerge(SecureRandom.layerWebCrypto),
  Layer.provideMerge(
    Layer.effectDiscard(
      Effect.addFinalizer(() => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true })))
    )
  )
)

const uuid = Effect.flatMap(SecureRandom.SecureRandom, ({ uuidV7 }) => uuidV7())

/** What is wrong is looked at again a moment later, which is in real time here. */
const examine = Effect.flatMap(Doctor, (doctor) => doctor.examine).pipe(
  Effect.provideService(Clock.Clock, Clock.Clock.defaultValue())
)

/** A build that runs, by the tables alone. */
const runningBuild = Effect.gen(function* () {
  const builds = yield* BuildRepository
  const account = yield* freshAccount
  const [build, attempt] = [yield* uuid, AttemptId.make(yield* uuid)]
  const identity = BuildId.make("ab".repeat(32))
  const derivation = storePath("a", "hello.drv")
  yield* builds.create({ id: build, identity, derivation, name: "hello", system: "x86_64-linux", account: account.id })
  const sandbox = { sandbox: "process", epoch: 1, versions: {}, cores: 1, memoryBytes: 1 } as const
  yield* builds.beginAttempt(build, { id: attempt, host: HostId.make("local"), ...sandbox })
  return { account, attempt, build, identity }
})

const request = (lease: LeaseId, account: AccountId): Event => ({
  _tag: "LeaseRequested",
  lease,
  account,
  system: "x86_64-linux",
  features: [],
  cores: 1,
  memoryBytes: 1
})

layer(Storage)("the doctor", (it) => {
  it.effect("finds nothing where all is well, and what the record and the tables tell differently", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* examine).findings, [])
      const builds = yield* BuildRepository
      const events = yield* EventRepository
      const { account, attempt, build, identity } = yield* runningBuild

      assert.sameMembers(
        [...(yield* examine).findings],
        [
          `attempt ${attempt}: under way by the tables, not by the record`,
          `build ${build}: under way by the tables, not by the record`
        ]
      )

      const { run } = yield* Tenure
      const lease = LeaseId.make(attempt)
      const told: ReadonlyArray<Event> = [
        { _tag: "ServerStarted" },
        { _tag: "BuildQueued", build, identity, account: account.id },
        request(lease, account.id),
        { _tag: "LeaseReturned", lease }
      ]
      yield* events.add(
        told.map((event, index) => ({ run, ordinal: index + 1, at: 0, event })),
        { isSynced: false }
      )
      yield* builds.endAttempt(attempt, { outcome: "failed", detail: "", usage: noUsage, logBytes: 3 })
      assert.sameMembers([...(yield* examine).findings], [`attempt ${attempt}: expected a log of 3 bytes, found none`])

      yield* events.add([{ run, ordinal: 5, at: 0, event: { _tag: "LeaseReturned", lease } }], { isSynced: false })
      const { findings } = yield* examine
      assert.match(findings[0] ?? "", /^lease: expected lease .* to be open, found that it is not/)
      yield* builds.finish(build, { state: "failed", status: "PermanentFailure", message: "", outputs: [] })
    })
  )

  it.effect("misses what a build that succeeded must have", () =>
    Effect.gen(function* () {
      const builds = yield* BuildRepository
      const { attempt, build } = yield* runningBuild
      yield* builds.endAttempt(attempt, { outcome: "lost", detail: "", usage: noUsage, logBytes: 0 })
      yield* builds.finish(build, { state: "succeeded", status: "Built", message: "", outputs: [] })

      const { findings } = yield* examine
      assert.includeMembers(
        [...findings],
        [
          `a build has succeeded without outputs: ${build}`,
          `a build has succeeded without an attempt that has: ${build}`
        ]
      )
    })
  )

  it.effect("misses files, and notes those that nobody knows of", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const nars = yield* NarStore
      const bytes = [1, 2, 3].map((digit) => narOf({ entries: { a: Buffer.alloc(100_000, String(digit)) } }))
      yield* Effect.scoped(
        Effect.gen(function* () {
          const received = []
          for (const each of bytes) received.push(yield* nars.receive(Source.fromChunks([each])))
          yield* nars.commit(received)
        })
      )
      const [gone, short, unknown] = bytes.map(hashOf)
      const fileOf = (hash = "") => path.join(directory, "nars", hash.slice(0, 2), `${hash}.nar`)
      fs.rmSync(fileOf(gone))
      fs.truncateSync(fileOf(short), 5)
      yield* sql`delete from nar where hash = decode(${unknown ?? ""}, 'hex')`

      const { findings, notes } = yield* examine
      const size = bytes[0]?.length
      assert.includeMembers(
        [...findings],
        [
          `NAR ${gone}: expected a file of ${size} bytes, found none`,
          `NAR ${short}: expected a file of ${size} bytes, found 5`
        ]
      )
      assert.deepStrictEqual(notes, [`NAR ${unknown}: a file that no row tells of; the next start removes it`])
    })
  )
})
