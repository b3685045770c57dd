/** Which finished build answers whom: each rule alone, and what no record and no asker may bring about. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { AttemptId, Backend, Outcome } from "../../src/domain/Attempt.ts"
import * as Reuse from "../../src/domain/Reuse.ts"
import { defaults } from "../../src/domain/Settings.ts"

const GiB = 2 ** 30

const success: Reuse.Candidate = {
  build: "01",
  state: "succeeded",
  status: "Built",
  isOwn: false,
  isComplete: true,
  agrees: true,
  isDistrusted: false,
  attempt: AttemptId.make("a"),
  outcome: "succeeded",
  backend: "kvm",
  epoch: 3,
  cores: 2,
  memoryBytes: 4 * GiB,
  limitSeconds: null
}
const failure: Reuse.Candidate = {
  ...success,
  build: "02",
  state: "failed",
  status: "PermanentFailure",
  outcome: "failed"
}
const timeout: Reuse.Candidate = {
  ...success,
  build: "03",
  state: "cancelled",
  status: "MiscFailure",
  outcome: "timed-out",
  limitSeconds: 60
}
const silence: Reuse.Candidate = { ...timeout, outcome: "silent" }

const asker: Reuse.Asker = {
  settings: { ...defaults, reuseBuildTimeouts: true },
  limits: { timeoutSeconds: 60, silenceSecondsMax: 60, logBytesMax: null },
  cores: 2,
  memoryBytes: 4 * GiB,
  memoryBytesMax: 16 * GiB,
  backend: "kvm",
  epoch: 3,
  isolating: ["kvm", "emulated"],
  hasNetwork: false
}

const answer = (candidates: ReadonlyArray<Reuse.Candidate>, change: Partial<Reuse.Asker> = {}) => {
  const decision = Reuse.decide(candidates, { ...asker, ...change })
  return decision._tag === "Reuse" ? `${decision.kind} ${decision.candidate.build}` : decision.reason
}

describe("a finished build", () => {
  it.each([
    ["success 01", success, {}],
    ["success 01", { ...success, epoch: 1, backend: "emulated" }, { cores: 64, hasNetwork: true }],
    ["success 01", { ...success, backend: "process", isOwn: true }, {}],
    ["01: another account's, and 'process' does not keep accounts apart", { ...success, backend: "process" }, {}],
    ["success 01", { ...success, backend: "process" }, { isolating: ["process"] }],
    ["01: another account's, and 'kvm' does not keep accounts apart", success, { isolating: [] }],
    ["01: taken back", { ...success, isOwn: true, isDistrusted: true }, {}],
    ["01: its outputs are no longer all there", { ...success, isComplete: false }, {}],
    ["asked for afresh", success, { settings: { ...defaults, reuseBuilds: false } }],
    ["failure 02", failure, {}],
    ["failure 02", { ...failure, outcome: "refused", status: "OutputRejected" }, { cores: 1, memoryBytes: GiB }],
    ["02: its failure is not wanted", failure, { settings: { ...defaults, reuseBuildFailures: false } }],
    ["02: it failed, and may not fail the next time: it has the network", failure, { hasNetwork: true }],
    ["02: it failed in 'kvm', and would run in 'emulated' now", failure, { backend: "emulated" }],
    ["02: it failed in a sandbox of epoch 3, and it is 4 now", failure, { epoch: 4 }],
    ["02: it failed with 2 cores, and would have 3 now", failure, { cores: 3 }],
    [`02: it failed with ${4 * GiB} bytes of memory, and would have ${5 * GiB} now`, failure, { memoryBytes: 5 * GiB }],
    [
      `02: it failed with ${4 * GiB} bytes of memory, and would have ${16 * GiB} now`,
      { ...failure, outcome: "out-of-memory" },
      {}
    ],
    ["failure 02", { ...failure, outcome: "out-of-memory" }, { memoryBytesMax: 4 * GiB }],
    ["failure 02", { ...failure, outcome: "out-of-scratch" }, {}],
    [
      "02: the host's disk was full",
      { ...failure, outcome: "out-of-scratch", backend: "process", isOwn: true },
      { backend: "process" }
    ],
    ["none of the same has ended with an answer", { ...failure, status: "TransientFailure" }, {}],
    ["none of the same has ended with an answer", { ...failure, outcome: "lost" }, {}],
    ["none of the same has ended with an answer", { ...failure, outcome: "lost", status: "PermanentFailure" }, {}],
    ["none of the same has ended with an answer", { ...timeout, outcome: "cancelled" }, {}],
    ["none of the same has ended with an answer", { ...timeout, outcome: "failed" }, {}],
    ["timeout 03", timeout, {}],
    ["timeout 03", silence, { limits: { ...asker.limits, timeoutSeconds: null } }],
    ["03: it took too long, and that is not wanted for an answer", timeout, { settings: defaults }],
    ["03: it took too long, and would have longer now", timeout, { limits: { ...asker.limits, timeoutSeconds: 61 } }],
    ["03: it took too long, and would have longer now", timeout, { limits: { ...asker.limits, timeoutSeconds: null } }],
    [
      "03: it took too long, and would have longer now",
      silence,
      { limits: { ...asker.limits, silenceSecondsMax: 61 } }
    ],
    ["03: it took too long, and would have longer now", { ...timeout, limitSeconds: null }, {}],
    ["03: it took too long, and may not the next time: it has the network", timeout, { hasNetwork: true }],
    ["03: it failed with 2 cores, and would have 3 now", timeout, { cores: 3 }]
  ] satisfies ReadonlyArray<readonly [string, Reuse.Candidate, Partial<Reuse.Asker>]>)(
    "is taken for %j",
    (expected, candidate, change) => {
      assert.strictEqual(answer([candidate], change), expected)
    }
  )

  it("that made something comes before one that failed, and that before one that took too long", () => {
    assert.strictEqual(answer([timeout, failure, success]), "success 01")
    assert.strictEqual(answer([timeout, failure]), "failure 02")
  })

  it("that agrees with what the asker has comes first, then the oldest", () => {
    const [older, newer] = [success, { ...success, build: "09" }]
    assert.strictEqual(answer([newer, older]), "success 01")
    assert.strictEqual(answer([newer, { ...older, agrees: false }]), "success 09")
  })
})

describe("whatever is on record and whoever asks", () => {
  const small = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))
  const Candidate = Schema.Struct({
    build: Schema.Literals(["01", "02", "03", "04"]),
    state: Schema.Literals(["succeeded", "failed", "cancelled"]),
    status: Schema.Literals(["Built", "PermanentFailure", "TransientFailure", "MiscFailure"]),
    isOwn: Schema.Boolean,
    isComplete: Schema.Boolean,
    agrees: Schema.Boolean,
    isDistrusted: Schema.Boolean,
    attempt: AttemptId,
    outcome: Outcome,
    backend: Backend,
    epoch: small(2),
    cores: small(3),
    memoryBytes: small(3),
    limitSeconds: Schema.NullOr(small(3))
  })
  const Asker = Schema.Struct({
    reuseBuilds: Schema.Boolean,
    reuseBuildFailures: Schema.Boolean,
    reuseBuildTimeouts: Schema.Boolean,
    timeoutSeconds: Schema.NullOr(small(3)),
    silenceSecondsMax: Schema.NullOr(small(3)),
    cores: small(3),
    memoryBytes: small(3),
    more: small(2),
    backend: Backend,
    epoch: small(2),
    isolating: Schema.Array(Backend),
    hasNetwork: Schema.Boolean
  })

  it.prop(
    "no answer is of another account without walls between, taken back, of more than the asker would get, or unwanted",
    [Schema.Array(Candidate), Asker],
    ([
      candidates,
      { more, reuseBuildFailures, reuseBuildTimeouts, reuseBuilds, silenceSecondsMax, timeoutSeconds, ...rest }
    ]) => {
      const decision = Reuse.decide(candidates, {
        ...rest,
        memoryBytesMax: rest.memoryBytes + more,
        settings: { ...defaults, reuseBuilds, reuseBuildFailures, reuseBuildTimeouts },
        limits: { timeoutSeconds, silenceSecondsMax, logBytesMax: null }
      })
      if (decision._tag === "Build") return
      const { candidate, kind } = decision
      assert.isTrue(reuseBuilds && !candidate.isDistrusted)
      assert.isTrue(candidate.isOwn || rest.isolating.includes(candidate.backend))
      if (kind === "success") return assert.isTrue(candidate.state === "succeeded" && candidate.isComplete)
      assert.notInclude(["lost", "cancelled", "succeeded"], candidate.outcome)
      assert.isFalse(rest.hasNetwork)
      assert.isTrue(kind === "failure" ? reuseBuildFailures : reuseBuildTimeouts)
      assert.strictEqual(candidate.epoch, rest.epoch)
      assert.strictEqual(candidate.backend, rest.backend)
      assert.isAtLeast(candidate.cores, rest.cores)
      assert.isAtLeast(candidate.memoryBytes, rest.memoryBytes + (candidate.outcome === "out-of-memory" ? more : 0))
      if (kind === "timeout") {
        assert.isAtLeast(
          candidate.limitSeconds!,
          (candidate.outcome === "silent" ? silenceSecondsMax : timeoutSeconds)!
        )
      }
    }
  )
})
