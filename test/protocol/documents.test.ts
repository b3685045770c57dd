import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { directory, protocolDocuments } from "../support/protocolDocuments.ts"

for (const [file, text] of protocolDocuments()) {
  describe(`docs/protocol/${file}`, () => {
    it("is what the codecs say", () => {
      assert.strictEqual(fs.readFileSync(path.join(directory, file), "utf8"), text)
    })

    it("defines every type it names", () => {
      const grammars = [...text.matchAll(/^```\n([^`]*)\n```$/gm)].map(([, grammar]) => grammar!)
      // Cases of a union and names beside numbers are no types, nor is what a text holds, or is said of streams.
      const words = grammars.flatMap((grammar) => [
        ...grammar.replaceAll(/(0x[0-9a-f]+|\b\d+) [A-Z]\w+|"[^"]*"|^  then .*$/gm, "").matchAll(/\b[A-Z]\w+/g)
      ])
      const defined = new Set([...text.matchAll(/^### ([A-Z]\w+)$/gm)].map(([, name]) => name))

      assert.isNotEmpty(words)
      assert.deepStrictEqual(
        [...new Set(words.map(([name]) => name))].filter((name) => !defined.has(name)),
        []
      )
    })
  })
}
