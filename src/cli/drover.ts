/**
 * The operator's command line: asks a running server over its socket.
 *
 * Exit status: 0 when done, 1 when the server was not there, refused or is not well, 2 for words that are no command.
 */
import { Effect, Result, Schema } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { parseArgs } from "node:util"
import { read, surroundings } from "../config.ts"
import { AccountName } from "../domain/Account.ts"
import { Backend } from "../domain/Attempt.ts"
import { QuotaName } from "../domain/Quota.ts"
import * as Size from "../domain/Size.ts"
import { ask } from "./operator/Client.ts"
import { buildsMax } from "./operator/Request.ts"
import * as Show from "./operator/Show.ts"
import { accountsTable, buildsTable, hostsTable, quotasTable } from "./operator/Table.ts"

/** Builds listed unless told otherwise: what somebody can look through. */
const limitDefault = 1000

const help = `The operator's commands, against a running server

  npm run -s drover -- COMMAND [--data-dir DIR] [--config FILE]

  accounts add NAME --key FILE      a new account, opened by the Ed25519 public key in FILE
  accounts list [--json]            accounts and their keys
  accounts quotas NAME [QUOTA=AMOUNT]... [--json]
                                    what an account may have, set first to what is said: a number, a size such as
                                    11G, "none", or "standard"
  builds list [--json] [--limit N]  builds, newest first, ${limitDefault} unless told otherwise
  builds show ID [--json]           all that is known of one
  hosts list [--json]               hosts, and whether builds are given to them
  hosts drain HOST                  gives it no more builds; what runs there runs on
  hosts resume HOST                 gives it builds again, once a probe has ended well
  distrust [--host H] [--epoch N] [--backend B] [--before TIME] [--json]
                                    results that are to answer nobody any more, and where they are by now
  doctor [--json]                   examines what is on record, and whether all that it tells of is there

The server is found by its data directory, which is told as it was told the server.
`

/** Words that are no command. */
class UsageError extends Schema.TaggedError<UsageError>()("UsageError", { detail: Schema.String }) {
  override get message() {
    return this.detail
  }
}

/** Asked how it is, and not well: what was found, for people or programs. */
class Unwell extends Schema.TaggedError<Unwell>()("Unwell", { report: Schema.String }) {
  override get message() {
    return this.report
  }
}

const parse = (args: ReadonlyArray<string>) =>
  Effect.try({
    try: () =>
      parseArgs({
        args: [...args],
        allowPositionals: true,
        options: {
          "data-dir": { type: "string" },
          config: { type: "string" },
          key: { type: "string" },
          json: { type: "boolean" },
          limit: { type: "string" },
          host: { type: "string" },
          epoch: { type: "string" },
          backend: { type: "string" },
          before: { type: "string" },
          help: { type: "boolean" }
        }
      }),
    catch: (error) => new UsageError({ detail: error instanceof Error ? error.message : String(error) })
  })

type Options = Effect.Success<ReturnType<typeof parse>>["values"]

/** Where the server keeps its data, found as the server itself finds it. */
const dataDirOf = (options: Options) => {
  const told = (["data-dir", "config"] as const).flatMap((name) => {
    const value = options[name]
    return value === undefined ? [] : [`--${name}`, value]
  })
  return Effect.map(Effect.fromResult(read(told, surroundings())), ({ dataDir }) => dataDir)
}

/** For programs where that is asked, and else for people. */
const printed = <A>({ json }: Options, answer: A, show: (answer: A) => string): string =>
  json === true ? `${JSON.stringify(answer, null, 2)}\n` : show(answer)

const isAccountName = Schema.is(AccountName)

const accountName = (name: string) => {
  if (isAccountName(name)) return Effect.succeed(name)
  const allowed = "1 to 64 letters, digits, dots, underscores and hyphens"
  return Effect.fail(new UsageError({ detail: `expected a name of ${allowed}, found ${JSON.stringify(name)}` }))
}

const addAccount = Effect.fnUntraced(function* (text: string, options: Options) {
  const name = yield* accountName(text)
  if (options.key === undefined) return yield* new UsageError({ detail: "expected --key and a public key's file" })
  const file = path.resolve(surroundings().directory, options.key)
  // Read here, not by the server: the file may be nobody's but the operator's.
  const publicKey = yield* Effect.try({
    try: () => fs.readFileSync(file, "utf8"),
    catch: (error) => new UsageError({ detail: `--key: ${error instanceof Error ? error.message : String(error)}` })
  })
  const account = yield* ask(yield* dataDirOf(options), "AddAccount", {
    name,
    publicKey: publicKey.slice(0, 2048)
  })
  return `account ${account.name} added, opened by ${account.keys.map(({ fingerprint }) => fingerprint).join(", ")}\n`
})

const listAccounts = Effect.fnUntraced(function* (options: Options) {
  const accounts = yield* ask(yield* dataDirOf(options), "ListAccounts", {})
  return printed(options, accounts, accountsTable)
})

const isQuotaName = Schema.is(QuotaName)

const parseAmount = Effect.fnUntraced(function* (word: string) {
  const [, name, text = ""] = /^([^=]*)=(.*)$/.exec(word) ?? []
  if (!isQuotaName(name)) {
    const allowed = `QUOTA=AMOUNT with a quota of ${QuotaName.literals.join(", ")}`
    return yield* new UsageError({ detail: `expected ${allowed}, found ${JSON.stringify(word)}` })
  }
  if (text === "none" || text === "standard") return { name, amount: text } as const
  const amount = /^[0-9]{1,15}$/.test(text) ? Number(text) : Size.parse(text)
  if (amount !== null) return { name, amount }
  const allowed = `a number, a size such as 11G, "none" or "standard"`
  return yield* new UsageError({ detail: `${name}: expected ${allowed}, found ${JSON.stringify(text)}` })
})

const setQuotas = Effect.fnUntraced(function* (account: string, words: ReadonlyArray<string>, options: Options) {
  const amounts = yield* Effect.forEach(words, parseAmount)
  const shown = yield* ask(yield* dataDirOf(options), "SetQuotas", { account: yield* accountName(account), amounts })
  return printed(options, shown, quotasTable)
})

const listBuilds = Effect.fnUntraced(function* (options: Options) {
  const limit = options.limit === undefined ? limitDefault : Number(options.limit)
  if (!Number.isInteger(limit) || limit < 1 || limit > buildsMax) {
    const found = JSON.stringify(options.limit)
    return yield* new UsageError({ detail: `--limit: expected a whole number from 1 to ${buildsMax}, found ${found}` })
  }
  const builds = yield* ask(yield* dataDirOf(options), "ListBuilds", { limit })
  return printed(options, builds, buildsTable)
})

const isBuild = Schema.is(Schema.String.check(Schema.isUUID()))

const showBuild = Effect.fnUntraced(function* (id: string, options: Options) {
  if (!isBuild(id)) {
    return yield* new UsageError({ detail: `expected a build's id, as listed, found ${JSON.stringify(id)}` })
  }
  const shown = yield* ask(yield* dataDirOf(options), "ShowBuild", { id })
  return printed(options, shown, Show.build)
})

const isBackend = Schema.is(Backend)

/** Null where nothing is said. */
const said = <A>(
  option: string,
  text: string | undefined,
  allowed: string,
  parse: (text: string) => A | undefined
): Effect.Effect<A | null, UsageError> => {
  if (text === undefined) return Effect.succeed(null)
  const value = parse(text)
  return value === undefined
    ? Effect.fail(new UsageError({ detail: `--${option}: expected ${allowed}, found ${JSON.stringify(text)}` }))
    : Effect.succeed(value)
}

const distrust = Effect.fnUntraced(function* (options: Options) {
  const distrusted = {
    host: yield* said("host", options.host, "a host's name", (text) => text || undefined),
    epoch: yield* said("epoch", options.epoch, "a whole number", (text) =>
      /^[0-9]{1,9}$/.test(text) ? Number(text) : undefined
    ),
    backend: yield* said("backend", options.backend, Backend.literals.join(", or "), (text) =>
      isBackend(text) ? text : undefined
    ),
    before: yield* said("before", options.before, "a time such as 2026-11-21T18:00:00Z", (text) =>
      Number.isNaN(Date.parse(text)) ? undefined : Date.parse(text)
    )
  }
  if (distrusted.host === null && distrusted.epoch === null && distrusted.backend === null) {
    return yield* new UsageError({ detail: "expected --host, --epoch or --backend: whose results are meant" })
  }
  const takenBack = yield* ask(yield* dataDirOf(options), "TakeBack", { distrusted })
  return printed(options, takenBack, Show.takenBack)
})

const listHosts = Effect.fnUntraced(function* (options: Options) {
  const hosts = yield* ask(yield* dataDirOf(options), "ListHosts", {})
  return printed(options, hosts, hostsTable)
})

const lendHost = Effect.fnUntraced(function* (verb: "drain" | "resume", host: string, options: Options) {
  yield* ask(yield* dataDirOf(options), verb === "drain" ? "DrainHost" : "ResumeHost", { host })
  return verb === "drain"
    ? `host ${host} gets no more builds\n`
    : `host ${host} gets builds once a probe has ended well\n`
})

const examine = Effect.fnUntraced(function* (options: Options) {
  const diagnosis = yield* ask(yield* dataDirOf(options), "Examine", {})
  const report = printed(options, diagnosis, Show.diagnosis)
  return diagnosis.findings.length === 0 ? report : yield* new Unwell({ report })
})

/** What is printed for the words given. */
export const run = Effect.fnUntraced(function* (args: ReadonlyArray<string>) {
  const { positionals, values } = yield* parse(args)
  const [noun, verb, name, ...more] = positionals
  if (values.help === true || noun === undefined) return help
  if (noun === "accounts" && verb === "add" && name !== undefined && more.length === 0) {
    return yield* addAccount(name, values)
  }
  if (noun === "accounts" && verb === "list" && name === undefined) return yield* listAccounts(values)
  if (noun === "accounts" && verb === "quotas" && name !== undefined) return yield* setQuotas(name, more, values)
  if (noun === "builds" && verb === "list" && name === undefined) return yield* listBuilds(values)
  if (noun === "builds" && verb === "show" && name !== undefined && more.length === 0) {
    return yield* showBuild(name, values)
  }
  if (noun === "hosts" && verb === "list" && name === undefined) return yield* listHosts(values)
  if (noun === "hosts" && (verb === "drain" || verb === "resume") && name !== undefined && more.length === 0) {
    return yield* lendHost(verb, name, values)
  }
  if (noun === "doctor" && verb === undefined) return yield* examine(values)
  if (noun === "distrust" && verb === undefined) return yield* distrust(values)
  return yield* new UsageError({
    detail: `expected a command, found ${JSON.stringify(positionals.join(" "))}; --help lists them`
  })
})

const main = async (args: ReadonlyArray<string>) => {
  const outcome = await Effect.runPromise(Effect.result(run(args)))
  if (Result.isSuccess(outcome)) {
    process.stdout.write(outcome.success)
    return 0
  }
  if (outcome.failure._tag === "Unwell") {
    process.stdout.write(outcome.failure.report)
    return 1
  }
  process.stderr.write(`drover: ${outcome.failure.message}\n`)
  return outcome.failure._tag === "UsageError" ? 2 : 1
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2))
