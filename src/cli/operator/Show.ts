/** One build, what was taken back, and how the service is, for people: what is to be known first stands first. */
import type { Diagnosis } from "../../domain/Diagnosis.ts"
import * as Size from "../../domain/Size.ts"
import type { TakenBack } from "../../storage/DistrustRepository.ts"
import type { ShownBuild } from "./Request.ts"
import { printable, table, time } from "./Table.ts"

export const diagnosis = ({ examined, findings, notes }: Diagnosis): string => {
  const { attempts, builds, events, nars } = examined
  const looked = `${events} events, ${builds} builds, ${attempts} attempts, ${nars} NARs`
  const verdict = findings.length === 0 ? `ok: ${looked}` : `not well: ${findings.length} findings in ${looked}`
  return [verdict, ...findings, ...notes.map((note) => `note: ${note}`)].map((line) => `${printable(line)}\n`).join("")
}

const size = (bytes: number | null) =>
  bytes === null ? "-" : bytes < 1024 ? `${bytes} bytes` : Size.print(Math.ceil(bytes / 1024) * 1024)

/** Of processor time. */
const seconds = (...microseconds: ReadonlyArray<number | null>) => {
  const known = microseconds.filter((each) => each !== null)
  return known.length === 0 ? "-" : `${(known.reduce((sum, each) => sum + each, 0) / 1e6).toFixed(1)} s`
}

/** `key: value`, and nothing for what is not there. */
const fields = (rows: ReadonlyArray<readonly [string, string | null]>, indent = "") =>
  table(rows.flatMap(([key, value]) => (value === null ? [] : [[`${indent}${key}`, printable(value)]])))

const versions = (parts: { readonly [part: string]: string }) =>
  Object.entries(parts)
    .map(([part, version]) => `${part} ${version}`)
    .join(", ")

const attempt = (each: ShownBuild["attempts"][number], ordinal: number): string =>
  fields(
    [
      [`attempt ${ordinal}`, each.id],
      ["  outcome", each.outcome ?? "running"],
      ["  detail", each.detail === "" ? null : each.detail],
      ["  limit reached", each.limitSeconds === null ? null : `${each.limitSeconds} s`],
      ["  taken back", each.distrustedAt === null ? null : time(each.distrustedAt)],
      ["  ran", `${time(each.startedAt)} to ${time(each.endedAt)}`],
      ["  on", `${each.host}, ${each.sandbox}, epoch ${each.epoch}`],
      ["  made of", versions(each.versions)],
      ["  given", `${each.cores} cores, ${Size.print(each.memoryBytes)}`],
      [
        "  used",
        `processors ${seconds(each.cpuUserMicroseconds, each.cpuSystemMicroseconds)}, memory ${size(each.memoryPeakBytes)}`
      ],
      ["  log", size(each.logBytes)]
    ],
    "  "
  )

const answered = ({ answered, answeredCount }: ShownBuild): string =>
  answeredCount === 0
    ? ""
    : `answered ${answeredCount} later${answeredCount > answered.length ? `, of which ${answered.length} are named` : ""}\n` +
      table(answered.map(({ accounts, endedAt, id }) => [`  ${id}`, time(endedAt), accounts.join(",")]))

const inputsRead = ({ inputsRead }: ShownBuild): string =>
  inputsRead.map(({ attempt, inputs, read }) => `attempt ${attempt} read ${read} of its ${inputs} inputs\n`).join("")

export const build = (shown: ShownBuild): string =>
  fields([
    ["build", shown.id],
    ["derivation", shown.derivation],
    ["identity", shown.identity],
    ["system", shown.system],
    ["state", shown.state],
    ["waits", shown.waits],
    ["status", shown.status],
    ["message", shown.message === "" ? null : shown.message],
    ["created", time(shown.createdAt)],
    ["started", shown.startedAt === null ? null : time(shown.startedAt)],
    ["ended", shown.endedAt === null ? null : time(shown.endedAt)],
    ["accounts", shown.waiters.map(({ account, since }) => `${account} (${time(since)})`).join(", ")],
    [
      "answered by",
      shown.reusedFrom === null
        ? null
        : `${shown.reusedFrom.id}, of ${shown.reusedFrom.accounts.join(",")}, ${time(shown.reusedFrom.endedAt)}`
    ],
    ["not answered", shown.notReused === null ? null : `by another: ${shown.notReused}`]
  ]) +
  fields(shown.outputs.map(({ name, narHash, path }) => [`output ${name}`, `${path} ${narHash}`])) +
  shown.attempts.map((each, index) => attempt(each, index + 1)).join("") +
  inputsRead(shown) +
  answered(shown)

const named = (what: string, count: number, lines: string, named: number): string =>
  `${what}: ${count}${count > named ? `, of which ${named} are named` : ""}\n${lines}`

export const takenBack = ({ attempts, holderCount, holders, resultCount, results, running }: TakenBack): string =>
  `attempts taken back: ${attempts}${running === 0 ? "" : `, of which ${running} still run, and answer who waits for them`}\n` +
  named(
    "results that answer nobody any more",
    resultCount,
    table(
      results.map(({ accounts, backend, build, derivation, epoch, host, outcome, startedAt }) => [
        `  ${build}`,
        time(startedAt),
        outcome,
        `${host}, ${backend}, epoch ${epoch}`,
        accounts.join(","),
        printable(derivation)
      ])
    ),
    results.length
  ) +
  named(
    "paths that are seen where they were given to",
    holderCount,
    table(holders.map(({ account, build, path }) => [`  ${account}`, build, printable(path)])),
    holders.length
  )
