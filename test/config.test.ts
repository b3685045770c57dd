/** Settings: where they are found, which one counts, and how a bad one is refused. */
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as IpPrefix from "../src/domain/IpPrefix.ts"
import { type Config, helpText, read, type Surroundings, toArguments } from "../src/config.ts"

const around = (more: Partial<Surroundings> = {}): Surroundings => ({
  isRoot: false,
  environment: {},
  home: "/home/ann",
  directory: "/somewhere",
  cores: 8,
  memoryBytes: 16 * 1024 ** 3,
  readFile: () => Result.fail("no such file"),
  ...more
})

const files = (contents: Record<string, string>): Pick<Surroundings, "readFile"> => ({
  readFile: (file) => (contents[file] === undefined ? Result.fail("no such file") : Result.succeed(contents[file]))
})

const good = (args: ReadonlyArray<string>, more?: Partial<Surroundings>): Config =>
  Result.getOrThrow(read(args, around(more)))

const refusal = (args: ReadonlyArray<string>, more?: Partial<Surroundings>): string => {
  const result = read(args, around(more))
  return Result.isFailure(result) ? result.failure.message : "not refused"
}

describe("the settings", () => {
  it("are the machine's when nobody says otherwise", () => {
    const config = good([])

    assert.strictEqual(config.dataDir, "/home/ann/.local/share/drover")
    assert.strictEqual(config.cores, 8)
    assert.strictEqual(config.memoryBytes, 14 * 1024 ** 3)
    assert.deepStrictEqual(config.started, { userNamespaceFd: null, subUids: null, cgroups: [] })
  })

  it("keep root's data with the system's, and others' where XDG says", () => {
    assert.strictEqual(good([], { isRoot: true }).dataDir, "/var/lib/drover")
    assert.strictEqual(good([], { environment: { XDG_DATA_HOME: "/xdg" } }).dataDir, "/xdg/drover")
  })

  it("count on the command line before the environment, and there before the file", () => {
    const everywhere = {
      environment: { DROVER_CORES: "2", DROVER_MEMORY: "2G", DROVER_CONFIG: "/etc/drover.toml" },
      ...files({ "/etc/drover.toml": 'cores = 3\nmemory = "3G"\nssh-listen = "[::1]:3"\n' })
    }

    const config = good(["--cores", "1"], everywhere)

    assert.strictEqual(config.cores, 1)
    assert.strictEqual(config.memoryBytes, 2 * 1024 ** 3)
    assert.deepStrictEqual(config.sshListen, { host: "::1", port: 3 })
  })

  it("are read from JSON as well", () => {
    const config = good(
      ["--config", "drover.json"],
      files({ "/somewhere/drover.json": '{"cores": 3, "data-dir": "here"}' })
    )

    assert.strictEqual(config.cores, 3)
    assert.strictEqual(config.dataDir, "/somewhere/here")
  })

  it("take a path as relative to where it was written", () => {
    const file = files({ "/etc/drover/our.toml": 'data-dir = "data"' })

    assert.strictEqual(good(["--data-dir", "mine"]).dataDir, "/somewhere/mine")
    assert.strictEqual(good(["--config=/etc/drover/our.toml"], file).dataDir, "/etc/drover/data")
  })

  it("take the last of an option given twice, and an empty variable for none", () => {
    assert.strictEqual(good(["--cores=1", "--cores", "2"]).cores, 2)
    assert.strictEqual(good([], { environment: { DROVER_CORES: "" } }).cores, 8)
  })

  it.each([
    [["--cores", "0"], '--cores: expected a whole number from 1 to 4096, found "0"'],
    [["--memory", "11"], '--memory: expected a size of at least 256M, such as 512M or 11G, found "11"'],
    [["--memory", "1M"], '--memory: expected a size of at least 256M, such as 512M or 11G, found "1M"'],
    [["--ssh-listen", "7022"], "--ssh-listen: expected HOST:PORT"],
    [["--http-listen", "localhost:65536"], "--http-listen: expected HOST:PORT"],
    [["--sandbox", "docker"], '--sandbox: expected one of auto, kvm, emulated, process, found "docker"'],
    [
      ["--systems", "x86_64-linux,"],
      "--systems: expected systems such as x86_64-linux, with commas between them, or all"
    ],
    [["--egress-allow", "10.0.0.1/8"], "--egress-allow: expected prefixes such as 10.1.0.0/16,fd12:3456::/32"],
    [["--egress-allow", "10.0.0.0/8,"], "--egress-allow: expected prefixes"],
    [["--drain-time", "25h"], '--drain-time: expected a time from 0 to 24h, such as 30s, 10m or 2h, found "25h"'],
    [["--data-dir", ""], '--data-dir: expected a directory\'s path, found ""'],
    [["--cores"], "--cores: expected a value, found nothing after it"],
    [["--colour", "red"], 'expected an option, found "--colour"; --help lists them'],
    [["data"], 'expected an option, found "data"'],
    [["--config", "/none"], '--config "/none": no such file']
  ])("refuse %j with the option, the value and what is allowed", (args, message) => {
    assert.include(refusal(args), message)
  })

  it("are refused wherever they stand, with the place", () => {
    assert.include(refusal([], { environment: { DROVER_CORES: "many" } }), "--cores, from DROVER_CORES: expected")
    const file = (text: string) => refusal(["--config", "/f.toml"], files({ "/f.toml": text }))

    assert.include(file("cores = 0"), "cores in /f.toml: expected a whole number")
    assert.include(file("core = 1"), 'expected the name of a setting, found "core"')
    assert.include(file("cores = [1]"), "cores: expected text or a number, found [1]")
    assert.include(file("cores ="), "expected TOML, found")
    assert.include(refusal(["--config", "/f.json"], files({ "/f.json": "[1]" })), "expected settings by name")
  })

  it("take what the starter adds", () => {
    const added = [
      "--user-namespace-fd",
      "5",
      "--sub-uids",
      "300000:4096",
      "--cgroup",
      "memory=/a b",
      "--cgroup",
      "unified=/c"
    ]

    assert.deepStrictEqual(good(added).started, {
      userNamespaceFd: 5,
      subUids: { first: 300_000, count: 4096 },
      cgroups: [
        { controller: "memory", directory: "/a b" },
        { controller: "unified", directory: "/c" }
      ]
    })
    assert.include(refusal(["--sub-uids", "300000"]), "the starter's own options")
  })

  const address = Schema.Struct({
    host: Schema.Literals(["127.0.0.1", "::1", "localhost"]),
    port: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65_535 }))
  })
  const mebibytes = Schema.Int.check(Schema.isBetween({ minimum: 256, maximum: 2 ** 20 }))
  const cores = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 4096 }))
  const sandboxes = Schema.Literals(["auto", "kvm", "emulated", "process"])
  const systems = Schema.NullOr(Schema.Tuple([Schema.Literals(["x86_64-linux", "armv7l-linux"])]))
  const prefixes = Schema.Array(Schema.Literals(["10.0.0.0/8", "192.168.7.1", "fd12:3456::/32", "::1"]))
  it.prop(
    "say the same as arguments",
    [address, address, mebibytes, cores, sandboxes, systems, prefixes],
    ([sshListen, httpListen, memory, cores, sandbox, systems, prefixes]) => {
      const config: Config = {
        ...good([]),
        dataDir: "/a b/c",
        sshListen,
        httpListen,
        memoryBytes: memory * 1024 ** 2,
        cores,
        sandbox,
        systems,
        egressAllow: prefixes.map((text) => IpPrefix.parse(text)!)
      }

      assert.deepStrictEqual(good(toArguments(config), { cores: 1, memoryBytes: 1 }), config)
    }
  )

  it("have a line of help each", () => {
    for (const option of toArguments(good([])).filter((word) => word.startsWith("--")))
      assert.include(helpText, `${option} `)
  })
})
