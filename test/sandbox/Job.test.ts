import { assert, describe, it } from "@effect/vitest"
import type { BasicDerivation, Output } from "../../src/protocol/nix/Derivation.ts"
import { Sha256 } from "../../src/protocol/nix/Hash.ts"
import { PathInfo } from "../../src/protocol/nix/PathInfo.ts"
import * as Placeholder from "../../src/protocol/nix/Placeholder.ts"
import { StorePath } from "../../src/protocol/nix/StorePath.ts"
import { AttemptId } from "../../src/domain/Attempt.ts"
import * as Job from "../../src/sandbox/Job.ts"

const path = (digit: string, name: string) => StorePath.make(`${digit.repeat(32)}-${name}`)
const out = path("a", "test")

const info = (path: StorePath, references: ReadonlyArray<StorePath>, contentAddress = "") =>
  new PathInfo({
    path,
    deriver: null,
    narHash: Sha256.make("0".repeat(64)),
    narSize: 100,
    references,
    registrationTime: 0,
    ultimate: false,
    signatures: [],
    contentAddress
  })

const library = info(path("1", "library"), [path("1", "library")], "fixed:r:sha256:x")
const program = info(path("0", "program"), [library.path])

interface Given {
  readonly closure?: ReadonlyArray<PathInfo>
  readonly environment?: { readonly [name: string]: string }
  readonly builder?: string
  readonly arguments?: ReadonlyArray<string>
  readonly output?: Output
  readonly outputs?: Job.Job["outputs"]
  readonly impureVariables?: ReadonlyMap<string, string>
}

const make = (given: Given) => {
  const derivation: BasicDerivation = {
    outputs: [["out", given.output ?? { _tag: "InputAddressed", path: out }]],
    inputSources: [program.path],
    system: "x86_64-linux",
    builder: Buffer.from(given.builder ?? "/nix/store/bin/sh"),
    arguments: (given.arguments ?? []).map((word) => Buffer.from(word)),
    environment: Object.entries(given.environment ?? {}).map(([name, value]) => [Buffer.from(name), Buffer.from(value)])
  }
  return Job.make({
    attempt: AttemptId.make("attempt"),
    derivationPath: path("d", "test.drv"),
    derivation,
    outputs: given.outputs ?? [{ name: "out", path: out }],
    closure: given.closure ?? [program, library],
    cores: 3,
    memoryBytes: 2 ** 30,
    ...(given.impureVariables === undefined ? {} : { impureVariables: given.impureVariables })
  })
}

const made = (given: Given) => {
  const job = make(given)
  if (job instanceof Job.JobRefused) throw job
  return job
}

const refused = (given: Given) => {
  const job = make(given)
  assert.instanceOf(job, Job.JobRefused)
  return job.message
}

const variables = (given: Given) =>
  made(given).environment.map(([name, value]) => `${Buffer.from(name)}=${Buffer.from(value)}`)

const file = (given: Given, name: string) =>
  Buffer.from(made(given).files.find((file) => file.name === name)?.contents ?? "no such file").toString()

const fixed: Output = { _tag: "Fixed", path: out, method: "flat", algorithm: "sha256", hash: "0".repeat(64) }

describe("a job", () => {
  it("has Nix's variables, sorted, of which some cannot be set by the derivation", () => {
    const environment = { HOME: "/mine", PATH: "/bin", TMPDIR: "/mine", TERM: "mine", out: "/nix/store/x", B: "1" }

    assert.deepStrictEqual(variables({ environment }), [
      "B=1",
      "HOME=/mine",
      "NIX_BUILD_CORES=3",
      "NIX_BUILD_TOP=/build",
      "NIX_LOG_FD=2",
      "NIX_STORE=/nix/store",
      "PATH=/bin",
      "PWD=/build",
      "TEMP=/build",
      "TEMPDIR=/build",
      "TERM=xterm-256color",
      "TMP=/build",
      "TMPDIR=/build",
      "out=/nix/store/x"
    ])
  })

  it("keeps bytes that are no text", () => {
    const job = made({ arguments: ["x"] })
    assert.deepStrictEqual(
      job.argv.map(String),
      ["sh", "x"].map((word) => String(Buffer.from(word)))
    )

    const value = Uint8Array.of(0xff, 0xc3, 0x28)
    const environment = [[Buffer.from("raw"), value]] as const
    const derivation = { outputs: [], inputSources: [], system: "x", builder: value, arguments: [value], environment }
    const raw = Job.make({
      attempt: AttemptId.make("attempt"),
      derivationPath: path("d", "test.drv"),
      derivation,
      outputs: [],
      closure: [],
      cores: 1,
      memoryBytes: 1
    })
    assert.isFalse(raw instanceof Job.JobRefused)
    if (raw instanceof Job.JobRefused) return
    assert.deepStrictEqual(raw.environment.at(-1), [Buffer.from("raw"), value])
    assert.deepStrictEqual(raw.argv[1], value)
  })

  it("replaces placeholders for its outputs wherever the builder could meet them", () => {
    const placeholder = Placeholder.ofOutput("out")
    const job = made({
      arguments: [`-c ${placeholder}/x`],
      environment: { p: `a ${placeholder} ${placeholder}`, passAsFile: "f", f: placeholder }
    })

    const all = JSON.stringify(
      [...job.argv, ...job.environment.flat(), ...job.files.map(({ contents }) => contents)].map(String)
    )
    assert.notInclude(all, placeholder)
    assert.strictEqual(Buffer.from(job.argv[1]!).toString(), `-c /nix/store/${out}/x`)
  })

  it("passes attributes as files when told to", () => {
    const environment = { passAsFile: "big\n other", big: "value", other: "" }
    // The hash of the name, as `nix-hash --type sha256 --base32` prints it.
    const job = made({ environment })

    assert.deepStrictEqual(
      job.files.map(({ contents }) => Buffer.from(contents).toString()),
      ["value", ""]
    )
    assert.include(variables({ environment }), `bigPath=/build/${job.files[0]!.name}`)
    assert.notInclude(variables({ environment }), "big=value")
    assert.match(job.files[0]!.name, /^\.attr-[0-9a-z]{52}$/)
  })

  it("exports the graph of an input, in order, without derivers", () => {
    const environment = { exportReferencesGraph: `graph /nix/store/${program.path} one /nix/store/${library.path}` }

    assert.strictEqual(
      file({ environment }, "graph"),
      `/nix/store/${program.path}\n\n1\n/nix/store/${library.path}\n/nix/store/${library.path}\n\n1\n/nix/store/${library.path}\n`
    )
    assert.strictEqual(file({ environment }, "one"), `/nix/store/${library.path}\n\n1\n/nix/store/${library.path}\n`)
  })

  it("refuses graphs of what is not in the closure, and odd ones", () => {
    assert.include(
      refused({ environment: { exportReferencesGraph: `g /nix/store/${out}` } }),
      "not in the input closure"
    )
    assert.include(refused({ environment: { exportReferencesGraph: "g" } }), "odd number of tokens")
    assert.include(
      refused({ environment: { exportReferencesGraph: `../g /nix/store/${program.path}` } }),
      "invalid file name"
    )
    assert.include(refused({ environment: { exportReferencesGraph: "g /etc/passwd" } }), "non-store path")
  })

  it("has no more inputs than a namespace may have mounts", () => {
    const closure = (count: number) => Array<PathInfo>(count).fill(library)

    assert.strictEqual(made({ closure: closure(50_000) }).inputs.length, 50_000)
    assert.include(refused({ closure: closure(50_001) }), "at most 50000 inputs, and has 50001")
  })

  it("refuses graphs that are larger together than anybody needs, and file names that no disk takes", () => {
    const closure = Array.from({ length: 400 }, (_, index) =>
      info(StorePath.make(`${String(index).padStart(32, "0")}-path`), [])
    )
    const top = info(
      path("z", "top"),
      closure.map(({ path }) => path)
    )
    const asked = (count: number) =>
      Array.from({ length: count }, (_, index) => [`g${index}`, `/nix/store/${top.path}`] as const)
    const plain = (count: number) => ({ exportReferencesGraph: asked(count).flat().join(" ") })
    const structured = (count: number) => ({
      __json: JSON.stringify({
        exportReferencesGraph: Object.fromEntries(asked(count).map(([name, path]) => [name, [path]]))
      })
    })
    const given = { closure: [top, ...closure] }

    assert.strictEqual(made({ ...given, environment: plain(50) }).files.length, 50)
    assert.include(refused({ ...given, environment: plain(200) }), "bytes in 'exportReferencesGraph', found more")
    assert.strictEqual(made({ ...given, environment: structured(50) }).files.length, 2)
    assert.include(refused({ ...given, environment: structured(200) }), "bytes in 'exportReferencesGraph', found more")
    const long = { exportReferencesGraph: `${"g".repeat(256)} /nix/store/${program.path}` }
    assert.include(refused({ environment: long }), "invalid file name")
  })

  it("has the size of each path with all that it can reach, in whatever order they come", () => {
    const environment = (root: StorePath) => ({
      __json: JSON.stringify({ exportReferencesGraph: { g: [`/nix/store/${root}`] } })
    })
    const sizesOf = (closure: ReadonlyArray<PathInfo>, root: StorePath): ReadonlyMap<string, number> =>
      new Map(
        JSON.parse(file({ closure, environment: environment(root) }, ".attrs.json")).g.map(
          ({ closureSize, path }: { path: string; closureSize: number }) => [path, closureSize]
        )
      )
    const name = (index: number) => StorePath.make(`${String(index).padStart(32, "0")}-path`)

    const length = 9000
    const chain = Array.from({ length }, (_, index) =>
      info(name(index), [name(index), ...(index + 1 < length ? [name(index + 1)] : [])])
    )
    const sizes = sizesOf(chain, name(0))
    for (const index of [0, 1, 31, 32, 4095, 4096, 4097, length - 1]) {
      assert.strictEqual(sizes.get(`/nix/store/${name(index)}`), (length - index) * 100)
    }

    // Each refers to some before it, by more ways than one.
    const web = Array.from({ length: 300 }, (_, index) =>
      info(
        name(index),
        index === 0 ? [] : [name((index * 7) % index), name(index >> 1), name(index - 1 - ((index % 3) % index))]
      )
    )
    const reach = new Map<StorePath, ReadonlySet<StorePath>>()
    for (const { path, references } of web) {
      reach.set(path, new Set([path, ...references.flatMap((reference) => [...(reach.get(reference) ?? [])])]))
    }
    const all = [
      ...web,
      info(
        name(300),
        web.map(({ path }) => path)
      )
    ]
    const found = sizesOf(all.toReversed(), name(300))
    for (const { path } of web) assert.strictEqual(found.get(`/nix/store/${path}`), reach.get(path)!.size * 100)
  })

  it("refuses a program's name that no kernel takes, and more outputs than the executor does", () => {
    assert.include(refused({ builder: `/${"a/".repeat(70_000)}sh` }), "Argument list too long")
    const outputs = Array.from({ length: 4097 }, (_, index) => ({ name: `o${index}`, path: out }))
    assert.include(refused({ outputs }), "has 4097 outputs")
  })

  it("has structured attributes as files instead of variables", () => {
    const json = JSON.stringify({
      z: 1,
      a: { list: [program.path] },
      exportReferencesGraph: { g: [`/nix/store/${program.path}`] }
    })
    const environment = { __json: json, other: "x" }

    assert.notInclude(variables({ environment }).join(), "other")
    assert.include(variables({ environment }), "NIX_ATTRS_JSON_FILE=/build/.attrs.json")
    const attributes = JSON.parse(file({ environment }, ".attrs.json"))
    assert.deepStrictEqual(Object.keys(attributes), ["a", "exportReferencesGraph", "g", "outputs", "z"])
    assert.deepStrictEqual(attributes.outputs, { out: `/nix/store/${out}` })
    assert.deepStrictEqual(
      attributes.g.map(({ closureSize }: { closureSize: number }) => closureSize),
      [200, 100]
    )
    assert.deepStrictEqual(Object.keys(attributes.g[1]), [
      "ca",
      "closureSize",
      "narHash",
      "narSize",
      "path",
      "references"
    ])
    assert.include(file({ environment }, ".attrs.sh"), "declare z=1\n")
    assert.include(refused({ environment: { __json: "[" } }), "structured attributes")
  })

  it("has the network, and says what is checked, if its output is fixed", () => {
    const environment = { impureEnvVars: "http_proxy GONE", http_proxy: "mine" }
    const impureVariables = new Map([["http_proxy", "http://proxy"]])
    const seen = variables({ environment, output: fixed, impureVariables })

    assert.includeMembers(seen, ["NIX_OUTPUT_CHECKED=1", "http_proxy=http://proxy", "GONE="])
    assert.isTrue(made({ output: fixed }).network)
    assert.include(
      made({ output: fixed }).etc.map(({ name }) => name),
      "nsswitch.conf"
    )
    assert.isFalse(made({}).network)
    assert.include(
      made({}).etc.map(({ name }) => name),
      "hosts"
    )
    assert.notInclude(variables({ environment }), "GONE=")
  })

  it("is refused for a builder that is no program, and for more than a kernel takes, as a builder that fails", () => {
    assert.match(
      refused({ builder: "builtin:fetchurl" }),
      /^builder for '\/nix\/store\/d+-test\.drv' failed with exit code 1/
    )
    assert.match(
      refused({ environment: { big: "x".repeat(200_000) } }),
      /failed with exit code 1;\n.*Argument list too long/
    )
  })
})
