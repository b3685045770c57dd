/** Paths that go up and come down, and many connections at once. */
import { assert, describe, it } from "@effect/vitest"
import { randomBytes } from "node:crypto"
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import * as Process from "../support/Process.ts"
import * as World from "./World.ts"
import { schemes } from "./World.ts"

const world = World.opened()

/** A directory with one of everything that a store path can hold. */
const writeTree = (directory: string) => {
  const seed = randomBytes(4).toString("hex")
  const tree = path.join(directory, `tree-${seed}`)
  mkdirSync(path.join(tree, "empty"), { recursive: true })
  writeFileSync(path.join(tree, "big"), randomBytes(5_000_001))
  writeFileSync(path.join(tree, "nothing"), "")
  writeFileSync(path.join(tree, "program"), seed)
  chmodSync(path.join(tree, "program"), 0o755)
  symlinkSync("../outside", path.join(tree, "link"))
  for (let index = 0; index < 100; index++) writeFileSync(path.join(tree, `file ${index}`), `${seed} ${index}`)
  return tree
}

describe.each(schemes)("nix copy over %s", (scheme) => {
  it("brings back what it took there", async () => {
    const [giver, taker] = [await world.client(), await world.client()]
    const added = await giver.store.must(["nix-store", "--add", writeTree(world.directory)])

    await giver.store.must(["nix", "copy", "--no-check-sigs", "--to", `${scheme}://drover`, added])
    await taker.store.must(["nix", "copy", "--no-check-sigs", "--from", `${scheme}://drover`, added])

    const hash = ["nix-store", "-q", "--hash", added]
    assert.strictEqual(await taker.store.must(hash), await giver.store.must(hash))
    await taker.store.must(["nix-store", "--verify", "--check-contents"])
  })

  it("takes many small paths, and their references with them", async () => {
    const [giver, taker] = [await world.client(), await world.client()]
    const seed = randomBytes(4).toString("hex")
    const expression = `builtins.toFile "all-${seed}" (toString (builtins.genList
      (index: builtins.toFile "part-\${toString index}" "${seed} \${toString index}") 300))`
    const all = (
      await giver.store.must(["nix-instantiate", "--eval", "--read-write-mode", "-E", expression])
    ).replaceAll('"', "")

    await giver.store.must(["nix", "copy", "--no-check-sigs", "--to", `${scheme}://drover`, all])
    await taker.store.must(["nix", "copy", "--no-check-sigs", "--from", `${scheme}://drover`, all])

    const closure = ["nix-store", "-qR", all]
    assert.lengthOf((await giver.store.must(closure)).split("\n"), 301)
    assert.strictEqual(await taker.store.must(closure), await giver.store.must(closure))
  })
})

describe("what one account uploads", () => {
  it("is not there for another", async () => {
    const [owner, other] = [await world.client(), await world.client(await world.addAccount("other"))]
    const added = await owner.store.must(["nix-store", "--add", writeTree(world.directory)])

    await owner.store.must(["nix", "copy", "--no-check-sigs", "--to", "ssh-ng://drover", added])
    const taken = await other.store.run(["nix", "copy", "--no-check-sigs", "--from", "ssh-ng://drover", added])

    assert.notStrictEqual(taken.status, 0)
    assert.match(taken.err, /is not valid|does not exist/)
  })
})

describe("a hundred connections at once", () => {
  it("are all served", async () => {
    // The serve protocol's greeting: its magic number, and version 2.7.
    const greeting = Buffer.alloc(16)
    greeting.writeBigUInt64LE(0x390c9debn)
    greeting.writeBigUInt64LE(0x207n, 8)
    const connections = Array.from({ length: 100 }, () => greet(world.drover.sshConfig, greeting))
    // None is let go before all have had their answer, so they are there at the same time.
    const answers = await Promise.all(connections.map(({ answer }) => answer))
    for (const { process } of connections) process.stdin.end()
    await Promise.all(connections.map(({ process }) => process.ended))

    assert.deepStrictEqual([...new Set(answers)], ["cbee5254"])
  })
})

/** Greets the server in the serve protocol; gives the first bytes of its answer, in hexadecimal. */
const greet = (sshConfig: string, greeting: Uint8Array) => {
  // A shell of our own makes text of the answer, line by line as it comes.
  const script = "ssh -F \"$1\" drover 'nix-store --serve --write' | od -v -An -tx1 -w4"
  const process = Process.start(["stdbuf", "-o0", "sh", "-c", script, "greet", sshConfig])
  process.stdin.write(greeting)
  return { process, answer: process.line(/^ (\w\w ){3}\w\w$/).then(({ text }) => text.replaceAll(" ", "")) }
}
