/** Accounts that do not trust each other, asking for the same: in machines, emulated so that they run everywhere. */
import { assert, it } from "@effect/vitest"
import * as NixStore from "../support/NixStore.ts"
import * as ServeProcess from "../support/serveProcess.ts"
import type { BasicDerivation } from "../../src/protocol/nix/Derivation.ts"
import { StorePath } from "../../src/protocol/nix/StorePath.ts"
import * as World from "./World.ts"

// One core, so that what is asked for waits until the test gives it room.
const world = World.opened({ arguments: ["--sandbox", "emulated", "--cores", "1"] })

const bytes = (text: string) => new TextEncoder().encode(text)

/** By the shell that every sandbox has, so that nothing is to be uploaded. */
const derive = (name: string, script: string): readonly [StorePath, BasicDerivation] => {
  const hash = "0123456789".repeat(4).slice(name.length % 10, (name.length % 10) + 32)
  const out = StorePath.make(`${hash}-${name}`)
  return [
    StorePath.make(`${hash}-${name}.drv`),
    {
      outputs: [["out", { _tag: "InputAddressed", path: out }]],
      inputSources: [],
      system: NixStore.system,
      builder: bytes("/bin/sh"),
      arguments: ["-c", script].map(bytes),
      environment: [[bytes("out"), bytes(`/nix/store/${out}`)]]
    }
  ]
}

/** The same for nobody: only builds that were shared can say the same. */
const once = `read id < /proc/sys/kernel/random/uuid; echo first $id; echo last $id; echo $id > $out`

const own = (log: string) => log.replace(/^drover: .*\n/gm, "")

it("runs a build once for fifty who ask from ten accounts, and tells each of them all of it", async () => {
  const accounts = await Promise.all(Array.from({ length: 10 }, (_, index) => world.addAccount(`account-${index}`)))
  const holding = ServeProcess.ask(
    accounts[0]!,
    ...derive("holding", "echo held; sleep 1000000 || while :; do :; done")
  )
  holding.told.catch(() => {})
  await holding.line(/^held/)

  const [path, derivation] = derive("once", once)
  const asking = Array.from({ length: 50 }, (_, index) => ServeProcess.ask(accounts[index % 10]!, path, derivation))
  await Promise.all(asking.map(({ line }) => line(/^drover: waiting for 1 core /)))
  const queued = (await world.drover.builds()).filter((build) => build.derivation.endsWith(path))
  const waits = await world.drover.command("builds", "show", queued[0]!.id)
  holding.leave()
  const told = await Promise.all(asking.map(({ told }) => told))

  assert.lengthOf(queued, 1)
  assert.match(waits.out, /^waits +for 1 core and \S+ on /m)
  assert.match(waits.out, /^not answered +by another: none of the same has ended with an answer$/m)
  assert.strictEqual(queued[0]!.state, "queued")
  assert.sameMembers(
    [...queued[0]!.accounts],
    accounts.map((_, index) => `account-${index}`)
  )
  const [first] = told
  assert.match(own(first!.log), /^first ([0-9a-f-]{36})\r?\nlast \1\r?\n$/)
  for (const { log, result } of told) {
    assert.strictEqual(result.status, "Built")
    assert.strictEqual(own(log), own(first!.log))
  }
  const builds = (await world.drover.builds()).filter((build) => build.derivation.endsWith(path))
  assert.deepStrictEqual(
    builds.map(({ attempts, state }) => [state, attempts.length]),
    [["succeeded", 1]]
  )

  // Whoever comes later is answered by it, and told when it was made and how to ask for another, but not whose it was.
  const later = await world.addAccount("later")
  const answered = await ServeProcess.ask(later, path, derivation).told
  assert.match(answered.log, /^drover: built on .* UTC; DROVER_REUSE_BUILDS=false asks for a fresh build\n/)
  assert.strictEqual(own(answered.log), own(first!.log))
  const [reused] = (await world.drover.builds()).filter((build) => build.derivation.endsWith(path))
  assert.deepInclude(reused, { reusedFrom: builds[0]!.id, attempts: [], accounts: ["later"] })

  const shown = await world.drover.command("builds", "show", reused!.id)
  assert.match(shown.out, new RegExp(`^answered by +${builds[0]!.id}, of account-`, "m"))

  const fresh = await world.addAccount("fresh")
  const again = await ServeProcess.ask(fresh, path, derivation, ["DROVER_REUSE_BUILDS=0", "DROVER_MAX_CPU=many"]).told
  assert.include(again.log, 'drover: DROVER_MAX_CPU: expected a whole number from 1 to 4096, found "many"; ignored\n')
  assert.notStrictEqual(own(again.log), own(first!.log))
})
