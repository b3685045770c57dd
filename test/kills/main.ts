/**
 * `npm run kills -- [--count N] [--seed N] [--sandbox emulated|kvm|process] [--clients N]`: so many kills of a real
 * server and its parts under real clients, and whether anything was lost, wrong or left behind. Status 1 if so.
 */
import { parseArgs } from "node:util"
import { isWell, run, words } from "./Kills.ts"

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "300" },
    seed: { type: "string", default: "1" },
    sandbox: { type: "string", default: "emulated" },
    clients: { type: "string", default: "10" }
  }
})
const [count, seed, clients] = [Number(values.count), Number(values.seed), Number(values.clients)]
if (![count, seed, clients].every((number) => Number.isSafeInteger(number) && number > 0)) {
  process.stderr.write("expected numbers for --count, --seed and --clients\n")
  process.exit(2)
}

const begun = performance.now()
const say = (line: string) => process.stdout.write(`${Math.round((performance.now() - begun) / 1000)} s  ${line}\n`)
const report = await run({ count, seed, clients, sandbox: values.sandbox, say })
process.stdout.write(`${words(report)}\nseed ${seed}, sandbox ${values.sandbox}\n`)
process.exitCode = isWell(report) ? 0 : 1
