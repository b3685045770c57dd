/** One client of a remote builder: stock Nix with a store of its own, and what is asked of it here. */
import { randomBytes } from "node:crypto"
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import * as NixStore from "../test/support/NixStore.ts"
import type { Subject } from "./Figures.ts"

export type Scheme = "ssh" | "ssh-ng"

export interface Client {
  readonly store: NixStore.NixStore
  readonly subject: Subject
  readonly close: () => Promise<void>
}

export const open = async (dir: string, subject: Subject, sshConfig: string, signal: AbortSignal): Promise<Client> => {
  const store = await NixStore.open(dir, { environment: { NIX_SSHOPTS: `-F ${sshConfig}` }, signal })
  return { store, subject, close: store.close }
}

/** A name that no earlier run has used, so that nobody has what is asked for. */
export const seed = () => randomBytes(8).toString("hex")

/** Builds so many derivations that do nothing but make their output, as many at a time. */
export const buildTrivial = async ({ store, subject }: Client, scheme: Scheme, count: number) => {
  const name = seed()
  const expression = `map (index: derivation {
    name = "trivial-\${toString index}"; system = "${NixStore.system}"; builder = "/bin/sh";
    args = [ "-c" "echo building; echo \${toString index} ${name} > $out" ];
  }) (builtins.genList (index: index) ${count})`
  const machine = `${scheme}://${subject} ${NixStore.system} - ${count} 1`
  return await timed(() => store.must(["nix-build", "--no-out-link", "-j0", "--builders", machine, "-E", expression]))
}

/** Builds one output of so many bytes, which is then fetched. */
export const buildLarge = async ({ store, subject }: Client, scheme: Scheme, bytes: number) => {
  const expression = `derivation {
    name = "large-${seed()}"; system = "${NixStore.system}"; builder = "/bin/sh";
    args = [ "-c" "head -c ${bytes} /dev/zero > $out" ];
  }`
  const machine = `${scheme}://${subject} ${NixStore.system} - 1 1`
  return await timed(() => store.must(["nix-build", "--no-out-link", "-j0", "--builders", machine, "-E", expression]))
}

/** Puts a new path of so many bytes into the store, which do not compress. */
export const addLarge = async ({ store }: Client, dir: string, bytes: number) => {
  const file = path.join(dir, `large-${seed()}`)
  const chunk = 16 * 2 ** 20
  writeFileSync(file, "")
  for (let left = bytes; left > 0; left -= chunk) writeFileSync(file, randomBytes(Math.min(left, chunk)), { flag: "a" })
  const added = await store.must(["nix-store", "--add", file])
  rmSync(file)
  return [added]
}

/** Puts so many new paths of some kilobytes into the store. */
export const addSmall = async ({ store }: Client, dir: string, count: number) => {
  const name = seed()
  const work = path.join(dir, `small-${name}`)
  mkdirSync(work)
  const files = Array.from({ length: count }, (_, index) => path.join(work, `small-${index}-${name}`))
  for (const file of files) writeFileSync(file, randomBytes(3000))
  const added = await store.must(["nix-store", "--add", ...files])
  rmSync(work, { recursive: true })
  return added.split("\n")
}

/** Copies paths to the remote builder, or from it. */
export const copy = (
  { store, subject }: Client,
  scheme: Scheme,
  direction: "to" | "from",
  paths: ReadonlyArray<string>
) => timed(() => store.must(["nix", "copy", "--no-check-sigs", `--${direction}`, `${scheme}://${subject}`, ...paths]))

/** Seconds. */
const timed = async (run: () => Promise<unknown>) => {
  const began = performance.now()
  await run()
  return (performance.now() - began) / 1000
}
