import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Command from "../../src/ssh/Command.ts"

const serve = (writable: boolean) => ({ protocol: "serve", writable }) as const
const worker = { protocol: "worker", writable: true } as const

const parsed = (text: string) => {
  const result = Command.parse(text)
  return Result.isSuccess(result) ? result.success : null
}

const message = (text: string) => {
  const result = Command.parse(text)
  return Result.isFailure(result) ? result.failure.message : ""
}

/** As a careful caller would quote a word for a shell. */
const quoted = (word: string) => `'${word.replaceAll("'", "'\\''")}'`

describe("a command", () => {
  it("is one of those that Nix clients send", () => {
    assert.deepStrictEqual(parsed("nix-store --serve --write"), serve(true))
    assert.deepStrictEqual(parsed("nix-store --serve"), serve(false))
    assert.deepStrictEqual(parsed("nix-daemon --stdio"), worker)
    assert.deepStrictEqual(parsed("nix daemon --stdio"), worker)
    assert.deepStrictEqual(parsed("/run/current-system/sw/bin/nix-store --serve --write"), serve(true))
    assert.deepStrictEqual(parsed("~/.nix-profile/bin/nix-daemon --stdio"), worker)
    assert.deepStrictEqual(parsed("'/opt/my nix/nix'  daemon\t\"--stdio\" "), worker)
  })

  it("may name the store there is, in any position, and no other", () => {
    assert.deepStrictEqual(parsed("nix-store --serve --write --store daemon"), serve(true))
    assert.deepStrictEqual(parsed("nix-daemon --store 'auto' --stdio"), worker)
    assert.isNull(parsed("nix-daemon --stdio --store local?root=/x"))
    assert.isNull(parsed("nix-daemon --stdio --store"))
    assert.match(message("nix-daemon --stdio --store 'local?root=/x'"), /^expected no --store, auto or daemon, found /)
  })

  it("is refused when a shell would make more of it", () => {
    for (const text of [
      "",
      "   ",
      "nix-store",
      "nix-daemon",
      "nix-daemon --stdio --stdio",
      "nix-daemon --stdio --process-ops",
      "nix --stdio daemon",
      "nix-daemon --stdio; id",
      "nix-daemon --stdio\nid",
      "nix-daemon --stdio && id",
      "nix-daemon --stdio > /tmp/x",
      "nix-daemon $(id) --stdio",
      'nix-daemon "`id`" --stdio',
      "nix-daemon '--stdio",
      'nix-daemon "--stdio',
      "nix-daemon --stdio\\",
      "sh -c 'nix-daemon --stdio'",
      "nix-daemon/ --stdio",
      "x".repeat(Command.lengthMax + 1)
    ]) {
      assert.isNull(parsed(text), text)
    }
  })

  it.prop("is refused with one short line that no terminal obeys", [Schema.String], ([text]) => {
    for (const refused of [text, `\u001b[2J${text}\u009b\r\n\u2028`]) {
      const line = message(refused)
      assert.isAbove(line.length, 0)
      assert.isBelow(line.length, 800)
      // oxlint-disable-next-line no-control-regex -- these are what must not come through
      assert.notMatch(line, /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/)
    }
  })

  it.prop("means the same however its words are quoted", [Schema.String], ([directory]) => {
    const program = `/${directory.replaceAll(/[\n\0]/g, "").slice(0, 100)}/nix-store`
    assert.deepStrictEqual(parsed(`${quoted(program)} '--serve' "--write"`), serve(true))
    assert.deepStrictEqual(parsed(`${program.replaceAll(/(.)/gu, "\\$1")} --serve`), serve(false))
  })
})
