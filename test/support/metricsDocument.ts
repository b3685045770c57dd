/**
 * The table of metrics in the operator's manual, made from their declarations. To make it anew:
 *
 *   node test/support/metricsDocument.ts
 */
import * as fs from "node:fs"
import { fileURLToPath } from "node:url"
import * as Metrics from "../../src/telemetry/Metrics.ts"

export const file = fileURLToPath(new URL("../../docs/operating/telemetry.md", import.meta.url))

const begin = "<!-- Made by test/support/metricsDocument.ts from src/telemetry/Metrics.ts; change that. -->\n"
const end = "<!-- So far. -->\n"

/** UCUM's braces say what is counted, which a person reads without them. */
const unitOf = (unit: string) => (unit === "1" ? "a share" : unit.replace(/[{}]/g, ""))

const row = (declaration: Metrics.Declaration) =>
  [
    `\`${declaration.name}\``,
    `\`${Metrics.prometheusName(declaration)}\``,
    declaration.kind,
    unitOf(declaration.unit),
    declaration.by.map((name) => `\`${name}\``).join(", "),
    declaration.tells
  ].join(" | ")

export const table = (): string =>
  `| OpenTelemetry | Prometheus | Kind | Unit | By | Tells |\n|---|---|---|---|---|---|\n${Metrics.all
    .map((declaration) => `| ${row(declaration)} |\n`)
    .join("")}`

/** The manual as it should be. */
export const renewed = (text: string): string => {
  const [before, rest] = text.split(begin)
  const after = rest?.split(end)[1]
  if (before === undefined || after === undefined) throw new Error(`expected the marks of a table in ${file}`)
  return `${before}${begin}\n${table()}\n${end}${after}`
}

if (import.meta.main) fs.writeFileSync(file, renewed(fs.readFileSync(file, "utf8")))
