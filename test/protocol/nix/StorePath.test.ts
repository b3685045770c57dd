import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as ContentAddress from "../../../src/protocol/nix/ContentAddress.ts"
import * as Hash from "../../../src/protocol/nix/Hash.ts"
import * as Store from "../../../src/protocol/nix/StorePath.ts"
import { StorePath } from "../../../src/protocol/nix/StorePath.ts"
import { tree } from "../../golden/nar/trees.ts"
import { paths } from "../../golden/nix/hashes.ts"
import { accepted, refused } from "../../support/parsed.ts"

const hash32 = "0".repeat(32)

describe("a store path", () => {
  it.prop("comes back from its absolute form", [StorePath], ([path]) => {
    assert.strictEqual(accepted(Store.parse(Store.print(path))), path)
    assert.strictEqual(`${Store.hashPart(path)}-${Store.nameOf(path)}`, path)
  })

  it("has a name of 1 to 211 of Nix's characters, which may begin with a dot but not read as one", () => {
    for (const name of ["a", "a".repeat(211), "-a", "+._?=", ".a", "..a", "...", "._-"]) {
      assert.strictEqual(accepted(Store.parse(`/nix/store/${hash32}-${name}`)), `${hash32}-${name}`)
    }
    for (const name of ["", "a".repeat(212), "a/b", "a b", "ä", "a\n", ".", "..", ".-a", "..-a", ".-", "..-"]) {
      assert.isString(refused(Store.parse(`/nix/store/${hash32}-${name}`)))
    }
  })

  it("lies in the store itself, behind a hash", () => {
    for (const path of [
      `${hash32}-a`,
      `/nix/store/${hash32}a`,
      `/nix/store//${hash32}-a`,
      `/nix/store/${hash32}-a/b`,
      `/nix/stor/${hash32}-a`,
      `/nix/store/${"e".repeat(32)}-a`
    ]) {
      assert.isString(refused(Store.parse(path)))
    }
  })
})

describe("a content address", () => {
  const nar = Buffer.from(tree.nar, "base64")
  const of = (
    method: ContentAddress.ContentAddress["method"],
    algorithm: Hash.Algorithm,
    contents: Uint8Array | string
  ) => ({
    method,
    hash: { algorithm, hex: Hash.digest(algorithm, contents) }
  })
  const pathOf = (name: string, address: ContentAddress.ContentAddress): string =>
    accepted(ContentAddress.storePath(name, address, ContentAddress.none))

  it("has the path that Nix 2.8.0 gives it", () => {
    assert.strictEqual(pathOf("seven", of("flat", "sha256", "seven b")), paths.flatSha256)
    assert.strictEqual(pathOf("eight", of("flat", "sha1", "eight by")), paths.flatSha1)
    assert.strictEqual(pathOf("tree", of("nar", "sha256", nar)), paths.narSha256)
    assert.strictEqual(pathOf("tree", of("nar", "sha1", nar)), paths.narSha1)
  })

  it("comes back from its text", () => {
    for (const method of ["flat", "nar", "text", "git"] as const) {
      for (const algorithm of Hash.Algorithm.literals) {
        const address = of(method, algorithm, "x")
        assert.deepStrictEqual(ContentAddress.parse(ContentAddress.print(address)), address)
      }
    }
    assert.match(ContentAddress.print(of("nar", "sha256", "x")), /^fixed:r:sha256:[0-9a-z]{52}$/)
    assert.match(ContentAddress.print(of("text", "sha256", "x")), /^text:sha256:[0-9a-z]{52}$/)
  })

  it("is read in the one spelling that Nix has for it", () => {
    const { hash } = of("nar", "sha256", "x")
    const [, nix32] = Hash.printNix32(hash).split(":")
    for (const text of [
      "",
      `sha256:${nix32}`,
      `r:sha256:${nix32}`,
      `fixed:text:sha256:${nix32}`,
      `text:r:sha256:${nix32}`,
      `fixed:r:sha256:${hash.hex}`,
      `fixed:x:sha256:${nix32}`,
      `fixed:sha1:${nix32}`
    ]) {
      assert.isString(refused(ContentAddress.parse(text)))
    }
  })

  it("may refer to others only as a text or a NAR by sha256, and to itself only as the latter", () => {
    const others = [StorePath.make(`${hash32}-a`)]
    const referring = (address: ContentAddress.ContentAddress, references: ContentAddress.References) =>
      ContentAddress.storePath("name", address, references)

    const nar = of("nar", "sha256", "x")
    const bare = accepted(referring(nar, ContentAddress.none))
    const toOthers = accepted(referring(nar, { others, self: false }))
    const toItself = accepted(referring(nar, { others, self: true }))
    assert.strictEqual(new Set([bare, toOthers, toItself]).size, 3)
    assert.isOk(accepted(referring(of("text", "sha256", "x"), { others, self: false })))

    assert.isString(refused(referring(of("text", "sha256", "x"), { others, self: true })))
    assert.isString(refused(referring(of("text", "sha1", "x"), ContentAddress.none)))
    assert.isString(refused(referring(of("nar", "sha1", "x"), { others, self: false })))
    assert.isString(refused(referring(of("flat", "sha256", "x"), { others, self: false })))
    assert.isString(refused(referring(of("flat", "sha256", "x"), { others: [], self: true })))
  })

  it("refuses a name that no path may have", () => {
    assert.isString(refused(ContentAddress.storePath("a/b", of("nar", "sha256", nar), ContentAddress.none)))
    assert.isFalse(Schema.is(Store.Name)("a/b"))
  })
})
