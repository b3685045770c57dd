import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import type * as Nix from "../../../src/protocol/nix/DerivedPath.ts"
import { StorePath } from "../../../src/protocol/nix/StorePath.ts"
import * as Codec from "../../../src/protocol/wire/Codec.ts"
import { DerivedPath } from "../../../src/protocol/worker/DerivedPath.ts"

const derivation = StorePath.make("6hj5slxlr9m4pdxagqh61a6ffzs9gwnc-trivial.drv")
const file: Nix.DerivedPath = { _tag: "Opaque", path: derivation }
const all: Nix.DerivedPath = { _tag: "Built", derivation, via: [], outputs: "all" }
const some: Nix.DerivedPath = { _tag: "Built", derivation, via: [], outputs: ["dev", "out"] }
const other: Nix.DerivedPath = { _tag: "Opaque", path: StorePath.make("lm84viga06435nymjs592gg36ca852m7-bb") }

const sent = (text: string, version: Codec.Version) =>
  Result.getOrThrow(Codec.decode(DerivedPath, Codec.encode(Codec.text, text, 0), version))

const written = (path: Nix.DerivedPath, version: Codec.Version) =>
  Result.getOrThrow(Codec.decode(Codec.text, Codec.encode(DerivedPath, path, version), 0))

const bare = `/nix/store/${derivation}`

describe("the path of a derivation", () => {
  it("means its file since 1.30, and all its outputs before", () => {
    assert.deepStrictEqual(sent(bare, 0x011e), file)
    assert.deepStrictEqual(sent(bare, 0x011d), all)
  })

  it("is written so that the peer takes it for what is meant", () => {
    assert.strictEqual(written(all, 0x011e), `${bare}!*`)
    assert.strictEqual(written(all, 0x011d), bare)
    assert.strictEqual(written(file, 0x011e), bare)
  })
})

describe("what else can be asked for", () => {
  it("is the same in all versions", () => {
    for (const version of [0x010f, 0x011d, 0x011e, 0x0126]) {
      assert.deepStrictEqual(sent(`${bare}!dev,out`, version), some)
      assert.strictEqual(written(some, version), `${bare}!dev,out`)
      assert.deepStrictEqual(sent("/nix/store/lm84viga06435nymjs592gg36ca852m7-bb", version), other)
    }
  })
})
