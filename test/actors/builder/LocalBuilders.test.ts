import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import * as LocalBuilders from "../../../src/actors/builder/LocalBuilders.ts"
import { AccountId } from "../../../src/domain/Account.ts"
import { AttemptId } from "../../../src/domain/Attempt.ts"
import { Lease, LeaseId } from "../../../src/domain/Lease.ts"
import { OutputStore } from "../../../src/sandbox/OutputStore.ts"
import { type Kind, Sandbox } from "../../../src/sandbox/Sandbox.ts"
import { SandboxError } from "../../../src/sandbox/SandboxError.ts"
import { NarStore } from "../../../src/storage/NarStore.ts"
import { ReadLogRepository } from "../../../src/storage/ReadLogRepository.ts"
import { derive } from "../../support/building.ts"

const kind: Kind = { backend: "process", systems: ["x86_64-linux"], overheadBytes: 0, versions: {} }

/** A host whose sandboxes do not start, for this reason. */
const broken = (error: SandboxError) =>
  Layer.mergeAll(
    Layer.succeed(Sandbox, { kinds: [kind], epoch: 1, start: () => Effect.fail(error) }),
    // Nothing is built, so none of these is asked for anything.
    Layer.mock(OutputStore, {}),
    Layer.mock(NarStore, {}),
    Layer.mock(ReadLogRepository, {}),
    SecureRandom.layerWebCrypto
  )

const faultOf = Effect.fnUntraced(function* (error: SandboxError) {
  const lost = yield* Effect.gen(function* () {
    const host = LocalBuilders.localHost(yield* Sandbox, { cores: 1, memoryBytes: 2 ** 30, features: [] })
    const builders = yield* LocalBuilders.make(host)
    const lease = new Lease({ id: LeaseId.make("lease"), host: host.id, cores: 1, memoryBytes: 2 ** 29 })
    const assignment = {
      attempt: AttemptId.make("lease"),
      account: AccountId.make("ann"),
      lease,
      closure: [],
      ...derive()
    }
    return yield* Effect.flip(builders.run(assignment, () => Effect.void))
  }).pipe(Effect.scoped, Effect.provide(broken(error)))
  return lost._tag === "BuilderLost" ? lost.fault : lost._tag
})

describe("the builders of this host", () => {
  it.effect("blame the host for a sandbox that does not start", () =>
    Effect.gen(function* () {
      const error = new SandboxError({ operation: "starting the launcher", detail: "no more processes" })
      assert.strictEqual(yield* faultOf(error), "host")
    })
  )

  it.effect("blame no host for inputs that cannot be had, or are too many for any", () =>
    Effect.gen(function* () {
      const error = new SandboxError({ operation: "composing", detail: "too many files", isOfInputs: true })
      assert.strictEqual(yield* faultOf(error), "service")
    })
  )
})
