/** What is built in a simulation: derivations, each with what its builder does, whoever runs it. */
import { createHash } from "node:crypto"
import * as BuildId from "../../src/domain/BuildId.ts"
import type { BasicDerivation } from "../../src/protocol/nix/Derivation.ts"
import { Sha256 } from "../../src/protocol/nix/Hash.ts"
import { PathInfo } from "../../src/protocol/nix/PathInfo.ts"
import { StorePath } from "../../src/protocol/nix/StorePath.ts"
import type { Chance } from "./Chance.ts"

export interface Program {
  readonly name: string
  readonly derivationPath: StorePath
  readonly derivation: BasicDerivation
  readonly identity: BuildId.BuildId
  /** What it requires of a host. */
  readonly features: ReadonlyArray<string>
  readonly fails: boolean
  readonly lines: number
  readonly milliseconds: number
  /** What it needs to live; with less, it runs out of memory. */
  readonly memoryBytes: number
  readonly output: PathInfo
}

const bytes = (text: string) => new TextEncoder().encode(text)
const digits = "0123456789abcdfghijklmnpqrsvwxyz"

const hashOf = (text: string) => createHash("sha256").update(text).digest("hex")

/** 32 characters of Nix's own, out of any text. */
const hashPart = (text: string) =>
  [...createHash("sha256").update(text).digest()].map((byte) => digits[byte % 32]).join("")

/** The name of its output says nothing of its contents, as with any client that claims what it likes. */
const make = (claimed: string, seed: string, chance: Chance): Program => {
  const path = StorePath.make(`${hashPart(claimed)}-${claimed}`)
  const derivationPath = StorePath.make(`${hashPart(`${claimed}.drv`)}-${claimed}.drv`)
  const features = chance.happens(0.7)
    ? []
    : [chance.pick(["big-parallel", "big-parallel", "kvm", "kvm", "nixos-test"])]
  const derivation: BasicDerivation = {
    outputs: [["out", { _tag: "InputAddressed", path }]],
    inputSources: [],
    system: chance.happens(0.8) ? "x86_64-linux" : "aarch64-linux",
    builder: bytes("/bin/sh"),
    arguments: [],
    // In the order of their names, as the protocols have them.
    environment: [
      [bytes("requiredSystemFeatures"), bytes(features.join(" "))],
      [bytes("seed"), bytes(seed)]
    ]
  }
  const identity = BuildId.of(claimed, derivation, [])
  return {
    name: seed,
    derivationPath,
    derivation,
    identity,
    features,
    fails: chance.happens(0.15),
    lines: chance.below(6),
    milliseconds: chance.between(1, chance.happens(0.2) ? 20_000 : 4000),
    memoryBytes: chance.happens(0.8) ? 2 ** 30 : chance.between(2, 8) * 2 ** 30,
    output: new PathInfo({
      path,
      deriver: derivationPath,
      narHash: Sha256.make(hashOf(identity)),
      narSize: 120,
      references: [],
      registrationTime: 0,
      ultimate: true,
      signatures: [],
      contentAddress: ""
    })
  }
}

/** Some of them claim an output path that another claims, too. */
export const some = (count: number, chance: Chance): ReadonlyArray<Program> =>
  Array.from({ length: count }, (_, index) =>
    make(chance.happens(0.2) ? `program-${chance.below(index + 1)}` : `program-${index}`, `seed ${index}`, chance)
  )

export const line = (program: Program, index: number): string => `${program.name}: line ${index + 1}\n`

/** All that its builder says. */
export const log = (program: Program): string =>
  Array.from({ length: program.lines }, (_, index) => line(program, index)).join("")
