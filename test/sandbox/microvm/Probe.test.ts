import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Probe from "../../../src/sandbox/microvm/Probe.ts"
import { SandboxError } from "../../../src/sandbox/SandboxError.ts"
import { directory } from "../../support/processes.ts"

const subject: Probe.Subject = {
  architecture: "x86_64",
  accelerator: "tcg",
  guestHash: "a",
  qemuVersion: "7.2.22"
}

/** A boot that is counted, and ends as it is told. */
const booting = (trouble: string | null = null) => {
  let count = 0
  const boot = Effect.suspend(() => {
    count++
    return trouble === null ? Effect.void : Effect.fail(new SandboxError({ operation: "booting", detail: trouble }))
  })
  return { boot, count: () => count }
}

describe("the probe", () => {
  it.effect("boots once, and remembers what runs", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const place = yield* directory
        const { boot, count } = booting()

        assert.deepStrictEqual(yield* Probe.probe(subject, place, boot), { trouble: null })
        assert.deepStrictEqual(yield* Probe.probe(subject, place, boot), { trouble: null })

        assert.strictEqual(count(), 1)
      })
    )
  )

  it.effect.each([
    ["the guest", { guestHash: "b" }],
    ["QEMU", { qemuVersion: "10.0.2" }],
    ["the architecture", { architecture: "aarch64" }]
  ] as const)("boots again for another: %s", ([, other]) =>
    Effect.scoped(
      Effect.gen(function* () {
        const place = yield* directory
        const { boot, count } = booting()
        yield* Probe.probe(subject, place, boot)

        yield* Probe.probe({ ...subject, ...other }, place, boot)
        yield* Probe.probe(subject, place, boot)

        assert.strictEqual(count(), 2)
      })
    )
  )

  it.effect("takes a machine that was too slow once for slow, not for broken", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const place = yield* directory

        const first = yield* Probe.probe(subject, place, booting("too late").boot)
        const second = yield* Probe.probe(subject, place, booting().boot)

        assert.deepStrictEqual([first.trouble, second.trouble], ["booting: too late", null])
      })
    )
  )

  it.effect("boots again where its memory is damaged", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const place = yield* directory
        const { boot, count } = booting()
        yield* Probe.probe(subject, place, boot)
        fs.writeFileSync(path.join(place, "probe.json"), "{")

        yield* Probe.probe(subject, place, boot)

        assert.strictEqual(count(), 2)
      })
    )
  )

  it.effect("knows without a boot where KVM is not, or is of no use", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const place = yield* directory
        const modules = path.join(place, "module")
        fs.mkdirSync(modules)

        assert.strictEqual(Probe.kvmTrouble("/dev/no-kvm", modules), "there is no /dev/no-kvm")
        assert.isNull(Probe.kvmTrouble("/dev/null", modules))
        fs.mkdirSync(path.join(modules, "kvm_pvm"))
        assert.match(Probe.kvmTrouble("/dev/null", modules) ?? "", /kvm_pvm/)
      })
    )
  )
})
