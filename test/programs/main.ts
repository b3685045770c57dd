/**
 * Programs that people use, compiled in virtual machines and by stock Nix in its sandbox: the same bits, and how long.
 *
 *   npm run programs                          # hello, zlib and lua here; zlib emulated for the other processor, twice
 *   npm run programs -- x86_64.lua            # one of them
 *   npm run programs -- --ratio [--rounds N]  # how long a compilation takes in a machine, to how long outside
 *
 * The toolchain is made by the client and uploaded, so that what is compared is what was compiled. It takes some twenty
 * minutes where machines are emulated.
 */
import { mkdtempSync, chmodSync, rmSync } from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { parseArgs } from "node:util"
import * as Figures from "../../bench/Figures.ts"
import * as Drover from "../support/Drover.ts"
import * as NixStore from "../support/NixStore.ts"
import type * as Process from "../support/Process.ts"
import * as StockNix from "../support/StockNix.ts"
import * as Stock from "./Stock.ts"

const { positionals, values: options } = parseArgs({
  allowPositionals: true,
  options: { ratio: { type: "boolean", default: false }, rounds: { type: "string", default: "10" } }
})

const native = Stock.native === "aarch64" ? "aarch64" : "x86_64"
const foreign = native === "x86_64" ? "aarch64" : "x86_64"

/** The foreign one twice, since it is not so sure that something else can build it for comparison. */
const everything = ["hello", "zlib", "lua"]
  .map((name) => `${native}.${name}`)
  .concat(`${foreign}.zlib`, `${foreign}.zlib`)

const wanted = (attribute: string, seed: string) => [
  ...["nix-build", "--no-out-link", path.join(import.meta.dirname, "programs.nix"), "-A", attribute],
  ...["--arg", "directory", path.join(Drover.projectDirectory, "build/programs")],
  ...["--arg", "busybox", path.join(Drover.projectDirectory, "build/busybox"), "--argstr", "seed", seed]
]

const architectureOf = (attribute: string): Stock.Architecture =>
  attribute.startsWith("aarch64.") ? "aarch64" : "x86_64"

const say = (text: string) => process.stdout.write(`${text}\n`)

const must = (ended: Process.Ended, what: string): string => {
  if (ended.status !== 0) throw new Error(`${what}: ${ended.err.slice(-2000)}`)
  return ended.out.trim()
}

const seconds = async <A>(run: () => Promise<A>): Promise<readonly [A, number]> => {
  const began = performance.now()
  const result = await run()
  return [result, (performance.now() - began) / 1000]
}

const aborting = new AbortController()
const { signal } = aborting
process.once("SIGINT", () => aborting.abort(new Error("interrupted")))
const dir = mkdtempSync(path.join(os.tmpdir(), "drover-programs-"))
chmodSync(dir, 0o755)

/** A new server, and a client of it whose store has the toolchain. */
const open = async (name: string, sandbox: string) => {
  const drover = await Drover.start(path.join(dir, name), { arguments: ["--sandbox", sandbox], signal })
  const store = await NixStore.open(path.join(dir, `${name}-client`), {
    etc: StockNix.etc(),
    settings: StockNix.settings,
    environment: { NIX_SSHOPTS: `-F ${drover.sshConfig}` },
    signal
  })
  return {
    store,
    build: async (attribute: string, seed: string) => {
      const architecture = architectureOf(attribute)
      await store.must([...wanted(`${architecture}.toolchain`, seed), "--builders", ""])
      const machine = `ssh-ng://drover ${architecture}-linux - 1 1 big-parallel`
      return await seconds(() => store.run([...wanted(attribute, seed), "-j0", "--builders", machine]))
    },
    async [Symbol.asyncDispose]() {
      await store.close()
      await drover.stop()
    }
  }
}

/** Hashes of the outputs' contents, and what they refer to. */
const contents = (store: NixStore.NixStore, derivation: string) =>
  store.must([
    "sh",
    "-ec",
    'for path in $(nix-store -q --outputs "$1"); do echo "$path" "$(nix-hash --type sha256 "$path")" $(nix-store -q --references "$path"); done',
    "sh",
    derivation
  ])

const compare = async (attributes: ReadonlyArray<string>): Promise<number> => {
  const stock = await Stock.open(path.join(dir, "stock"), signal)
  await using stack = new AsyncDisposableStack()
  stack.defer(stock.close)
  let different = 0
  for (const [index, attribute] of attributes.entries()) {
    // Another server each time, so that none is answered with what was built before.
    await using remote = await open(`drover-${index}`, "auto")
    const argv = wanted(attribute, "")
    const derivation = await stock.must(["nix-instantiate", ...argv.slice(2)])
    must(await stock.run(wanted(`${architectureOf(attribute)}.toolchain`, "")), "the toolchain")
    const [here, alone] = await seconds(() => Stock.run(stock, architectureOf(attribute), argv))
    must(here, `${attribute}, by stock Nix`)
    const [there, inMachine] = await remote.build(attribute, "")
    must(there, `${attribute}, by Drover`)
    const isSame = (await contents(remote.store, derivation)) === (await contents(stock, derivation))
    if (!isSame) different++
    const times = `${alone.toFixed(1)} s by stock Nix, ${inMachine.toFixed(1)} s by Drover`
    say(`${isSame ? "ok" : "not ok"} ${attribute}: ${isSame ? "the same bits" : "other bits"}; ${times}`)
  }
  return different
}

/** In turn, in a machine and outside, as the compilation itself counts: neither boot nor network are in it. */
const ratio = async (rounds: number): Promise<void> => {
  await using inside = await open("inside", "auto")
  await using outside = await open("outside", "process")
  const figures: { readonly [place: string]: Array<number> } = { inside: [], outside: [] }
  for (let round = 0; round < rounds; round++) {
    const seed = `${process.pid} ${round}`
    for (const [name, { build, store }] of Object.entries({ inside, outside })) {
      const [ended] = await build(`${native}.few`, seed)
      figures[name]?.push(Number(await store.must(["cat", must(ended, name)])) / 1000)
    }
  }
  const [machine, bare] = [Figures.summarise(figures["inside"] ?? []), Figures.summarise(figures["outside"] ?? [])]
  if (machine === null || bare === null) return
  const shown = ({ max, median, min }: Figures.Summary) =>
    `${median.toFixed(2)} s (${min.toFixed(2)}–${max.toFixed(2)})`
  say(`five files of zlib, ${rounds} rounds, median (least–most):`)
  say(
    `in a machine ${shown(machine)}, outside ${shown(bare)}: ${(machine.median / bare.median).toFixed(1)} times as long`
  )
}

try {
  if (options.ratio) await ratio(Number(options.rounds))
  else process.exitCode = (await compare(positionals.length > 0 ? positionals : everything)) === 0 ? 0 : 1
} finally {
  rmSync(dir, { recursive: true, force: true, maxRetries: 3 })
}
