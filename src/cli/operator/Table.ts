/** Rows for people: columns as wide as what stands in them, two spaces between. */
import * as Size from "../../domain/Size.ts"
import * as Quota from "../../domain/Quota.ts"
import type { ListedAccount, ListedBuild, ListedHost, ShownQuotas } from "./Request.ts"

export const table = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column]!))
          .join("  ")
          .trimEnd()}\n`
    )
    .join("")
}

/** Names and comments come from clients: a terminal must not take them for commands. */
export const printable = (text: string) => text.replace(/[^\x20-\x7e\u00a0-\uffff]/g, "?")

export const accountsTable = (accounts: ReadonlyArray<ListedAccount>): string =>
  table([
    ["ACCOUNT", "KEY", "COMMENT"],
    ...accounts.flatMap(({ keys, name }) =>
      keys.length === 0
        ? [[name, "-", ""]]
        : keys.map(({ comment, fingerprint }, index) => [index === 0 ? name : "", fingerprint, printable(comment)])
    )
  ])

export const hostsTable = (hosts: ReadonlyArray<ListedHost>): string =>
  table([
    ["HOST", "STATE", "BUILDERS", "CORES", "MEMORY", "SYSTEMS", "REASON"],
    ...hosts.map(({ builders, cores, id, memoryBytes, reason, state, systems }) => [
      printable(id),
      state,
      String(builders),
      String(cores),
      Size.print(memoryBytes),
      systems.join(","),
      printable(reason ?? "")
    ])
  ])

export const quotasTable = ({ quotas }: ShownQuotas): string =>
  table([
    ["QUOTA", "MAX", "USED", "OF"],
    ...quotas.map(({ max, name, used }) => {
      const { counts, unit } = Quota.table[name]
      const amount = (value: number) => (unit === "count" || value === 0 ? String(value) : Size.print(value))
      return [name, max === null ? "none" : amount(max), used === null ? "-" : amount(used), `${counts}, ${unit}`]
    })
  ])

/** To the second. */
export const time = (iso: string | null | undefined) => iso?.replace("T", " ").replace(/\..*$/, "") ?? "-"

export const buildsTable = (builds: ReadonlyArray<ListedBuild>): string =>
  table([
    ["STARTED (UTC)", "STATE", "OUTCOME", "TRIES", "SYSTEM", "SANDBOX", "ACCOUNTS", "DERIVATION"],
    ...builds.map(({ accounts, attempts, derivation, reusedFrom, state, system, waits }) => {
      const last = attempts.at(-1)
      return [
        time(last?.startedAt),
        state,
        last?.outcome ?? (reusedFrom === null ? "-" : "reused"),
        String(attempts.length),
        printable(system),
        last?.sandbox ?? "-",
        accounts.join(","),
        `${printable(derivation)}${waits === null ? "" : `  waits ${waits}`}`
      ]
    })
  ])
