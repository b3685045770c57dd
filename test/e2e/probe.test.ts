/**
 * What a build in a virtual machine sees, fact by fact, against what it sees in the sandbox of stock Nix. Whatever
 * differs is listed here with the reason; everything else has to be the same.
 */
import { assert, it } from "@effect/vitest"
import { copyFileSync, mkdirSync } from "node:fs"
import * as path from "node:path"
import { projectDirectory } from "../support/Drover.ts"
import * as NixStore from "../support/NixStore.ts"
import * as Process from "../support/Process.ts"
import * as StockNix from "../support/StockNix.ts"
import * as World from "./World.ts"

const world = World.opened({ arguments: ["--sandbox", "emulated"] })

/** It asks for some four hundred; a host that shows fewer files may have fewer of them. */
const factsMin = 300

/** By name of the fact. */
const explained: ReadonlyArray<{ readonly of: RegExp; readonly because: string }> = [
  {
    of: /^machine\.(release|version|command-line|modules)$|^process\.cgroup$|^present\/proc\/kcore$/,
    because: "the kernel is the machine's own, and is told how to start by us"
  },
  {
    of: /^call\.(bpf|init_module|kexec_load|open_by_handle_at|socket\.\w+|userfaultfd|io_uring_setup|fanotify_init)$/,
    because: "what a kernel offers, and how it refuses the rest, depends on its version and how it was configured"
  },
  {
    of: /^(present|writable)\/proc\/sysrq-trigger$/,
    because: "a file of the kernel's that some are configured without; no build may write to it"
  },
  {
    of: /^setting\.(fs\/file-max|kernel\/(perf_event_paranoid|yama\/ptrace_scope)|net\/core\/somaxconn|vm\/mmap_min_addr)$/,
    because: "the kernel's own default, which depends on its version, its configuration and the memory that it has"
  },
  {
    of: /^setting\.vm\/overcommit_memory$/,
    because: "a machine is told what its build has used up by its memory, and not by what it may have asked for"
  },
  {
    of: /^setting\.(fs\/protected_\w+|net\/ipv4\/ping_group_range)$/,
    because: "as distributions set them at boot; this host has a bare kernel, ours are Debian's"
  },
  {
    of: /^limit\.(Max open files|files|Max processes|processes|Max pending signals)$/,
    because:
      "inherited from whoever started the daemon; ours are what systemd gives, and a bound on processes of our own"
  },
  {
    of: /^process\.(nice|scheduling)$|^call\.priority$/,
    because: "inherited from whoever started the daemon; a machine's own processes are not nice to anybody"
  },
  {
    of: /^machine\.(memory|processors)$|^environment\.NIX_BUILD_CORES$/,
    because: "a machine has what its build was lent, and not what the host has"
  },
  {
    of: /^(filesystem|mount)\/nix\/store(\/|$)/,
    because: "the inputs are one disk beneath the store, and not mounted one by one"
  },
  {
    of: /^(device|filesystem|mount|present|entries)\/dev(\/kvm)?$/,
    because: "Nix shows its builds the host's KVM if it has one; a machine has none unless its account may virtualise"
  },
  {
    of: /^call\.(get|list)xattr$/,
    because: "newer versions of Nix refuse to read extended attributes as well, and 2.8 only to write them"
  }
]

const sources = path.join(import.meta.dirname, "probe")

/** A directory with the probe in it, and the tools that it needs. */
const compiled = async () => {
  const directory = path.join(world.directory, "probe")
  mkdirSync(directory)
  copyFileSync(path.join(sources, "facts.sh"), path.join(directory, "facts.sh"))
  copyFileSync(path.join(projectDirectory, "build/busybox"), path.join(directory, "busybox"))
  const calls = ["-std=gnu11", "-O1", "-static", "-o", path.join(directory, "calls"), path.join(sources, "calls.c")]
  await Process.must(["cc", ...calls])
  return directory
}

/** A build whose output is its facts. */
const expression = (directory: string) => `
  let
    part = name: isIn: builtins.path {
      inherit name; path = ${JSON.stringify(directory)}; filter = path: type: isIn (baseNameOf path);
    };
    bb = part "busybox" (file: file == "busybox");
    probe = part "probe" (file: file != "busybox");
  in derivation {
    name = "facts"; system = "${NixStore.system}"; builder = "\${bb}/busybox"; inherit bb probe;
    args = [ "sh" "\${probe}/facts.sh" "one" "two words" ];
  }`

/** By name. */
const read = (text: string): ReadonlyMap<string, string> =>
  new Map(
    text.split("\n").map((line) => {
      const [name = "", ...value] = line.split("\t")
      return [name, value.join(" ")]
    })
  )

it("what a build sees in a machine is what it sees in the sandbox of stock Nix", async () => {
  const asked = expression(await compiled())
  const client = await world.client()
  const stock = await NixStore.open(path.join(world.directory, "stock"), {
    etc: StockNix.etc(),
    settings: StockNix.settings
  })

  const [there, here] = await Promise.all([
    client.build(asked, "ssh-ng"),
    stock.run(["nix-build", "--no-out-link", "-E", asked])
  ])

  assert.strictEqual(there.status, 0, there.err)
  assert.strictEqual(here.status, 0, here.err)
  const seen = read(await client.store.must(["cat", there.out.trim()]))
  const right = read(await stock.must(["cat", here.out.trim()]))
  await stock.close()
  assert.isAtLeast(right.size, factsMin)
  assert.isAtLeast(seen.size, factsMin)
  const different = [...new Set([...right.keys(), ...seen.keys()])].filter((name) => right.get(name) !== seen.get(name))
  const unexplained = different.filter((name) => !explained.some(({ of }) => of.test(name)))
  assert.deepStrictEqual(
    unexplained.map((name) => ({ name, stock: right.get(name), machine: seen.get(name) })),
    []
  )
})
