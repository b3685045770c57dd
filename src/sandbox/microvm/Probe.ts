/**
 * Whether machines of a kind run here: by a real boot with a deadline, remembered.
 *
 * That `/dev/kvm` is there says little. A host that is a virtual machine itself may have one behind which no ordinary
 * kernel gets to its first program, and QEMU then neither ends nor complains. So a machine is booted until its executor
 * says that it is ready. What came of it holds for this kernel, this QEMU and this boot of the host, and is not tried
 * again before one of them is another.
 */
import { Effect, Schema } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { SandboxError } from "../SandboxError.ts"
import type { Accelerator, Architecture } from "./Qemu.ts"

/** What a verdict depends on. */
export interface Subject {
  readonly architecture: Architecture
  readonly accelerator: Accelerator
  /** Of the guest, all of it. */
  readonly guestHash: string
  readonly qemuVersion: string
}

export interface Verdict {
  /** Null if such machines run; else why not. */
  readonly trouble: string | null
}

const Remembered = Schema.Record(Schema.String, Schema.Struct({ trouble: Schema.NullOr(Schema.String) }))

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(Remembered))

/** A module with which KVM runs only kernels that are made for it. */
const refusedModule = "kvm_pvm"

/** Why KVM cannot be used, as far as that can be seen without a boot. */
export const kvmTrouble = (device = "/dev/kvm", modules = "/sys/module"): string | null => {
  if (!fs.existsSync(device)) return `there is no ${device}`
  if (fs.existsSync(path.join(modules, refusedModule))) {
    return `${device} is of ${refusedModule}, which runs no ordinary kernel`
  }
  try {
    fs.accessSync(device, fs.constants.R_OK | fs.constants.W_OK)
    return null
  } catch {
    return `${device} may not be used by the user that the server runs as`
  }
}

const hostBoot = Effect.try({
  try: () => fs.readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim(),
  catch: (cause) => new SandboxError({ operation: "reading the host's boot id", detail: String(cause), cause })
})

const keyOf = ({ accelerator, architecture, guestHash, qemuVersion }: Subject, boot: string) =>
  [architecture, accelerator, guestHash, qemuVersion, boot].join("/")

/** A file that cannot be read is as good as none: it only saves time. */
const recall = (file: string): typeof Remembered.Type => {
  try {
    const found = decode(fs.readFileSync(file, "utf8"))
    return found._tag === "Some" ? found.value : {}
  } catch {
    return {}
  }
}

/** `boot`: ends well once the executor of such a machine is ready. `directory`: where verdicts are kept. */
export const probe = Effect.fn("Probe.probe")(function* (
  subject: Subject,
  directory: string,
  boot: Effect.Effect<void, SandboxError>
): Effect.fn.Return<Verdict, SandboxError> {
  const trouble = subject.accelerator === "kvm" ? kvmTrouble() : null
  if (trouble !== null) return { trouble }
  const file = path.join(directory, "probe.json")
  const bootId = yield* hostBoot
  const key = keyOf(subject, bootId)
  const known = recall(file)[key]
  if (known !== undefined) return known

  const verdict = yield* Effect.match(boot, {
    onSuccess: (): Verdict => ({ trouble: null }),
    onFailure: ({ message }): Verdict => ({ trouble: message })
  })
  // A crowded host may be too slow once: that an emulated machine does not run is never taken for settled.
  if (verdict.trouble === null || subject.accelerator === "kvm") yield* remember(file, bootId, key, verdict)
  return verdict
})

/** What held for another boot of this host holds no more. */
const remember = (file: string, bootId: string, key: string, verdict: Verdict) =>
  Effect.try({
    try: () => {
      const kept = Object.entries(recall(file)).filter(([other]) => other.endsWith(`/${bootId}`))
      fs.writeFileSync(`${file}.new`, `${JSON.stringify(Object.fromEntries([...kept, [key, verdict]]), null, 2)}\n`)
      fs.renameSync(`${file}.new`, file)
    },
    catch: (cause) => new SandboxError({ operation: "remembering what runs here", detail: String(cause), cause })
  })
