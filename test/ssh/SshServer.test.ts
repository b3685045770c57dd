import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Door from "../support/sshDoor.ts"

const worker = "nix-daemon --stdio"
const does = (what: string) => ["-o", `SetEnv=DO="${what}"`]

describe("the SSH door", () => {
  it.live("answers OpenSSH, both ways, to the last byte", () =>
    Effect.gen(function* () {
      const door = yield* Door.open()
      const input = Door.pattern(5_000_000, 13)

      const ended = yield* Door.run([...door.ssh(...does("echo")), worker], input)

      assert.deepStrictEqual({ status: ended.status, err: `${ended.err}` }, { status: 0, err: "" })
      assert.isTrue(ended.out.equals(input))
    })
  )

  it.live("refuses any other command with one line and status 127", () =>
    Effect.gen(function* () {
      const door = yield* Door.open()

      for (const command of ["uname -a", "nix-store --gc", "sh -c 'nix-daemon --stdio'"]) {
        const ended = yield* Door.run([...door.ssh(), command])
        assert.strictEqual(ended.status, 127)
        assert.strictEqual(`${ended.out}`, "")
        assert.match(`${ended.err}`, /^drover: expected nix-store.*, found .*\n$/)
      }
      const shell = yield* Door.run(door.ssh())
      assert.strictEqual(shell.status, 127)
      assert.match(`${shell.err}`, /^drover: [^\n]*no command\n$/)
    })
  )
})
