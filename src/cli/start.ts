/**
 * Starts the server: reads the settings as whoever called, and then is replaced by the starter, which is replaced by
 * `main.ts`, as the server's own user.
 *
 * Settings are read here because the server's user may be able to read neither the file nor the caller's environment.
 * It is told all of them as arguments.
 */
import * as Result from "effect/Result"
import * as fs from "node:fs"
import * as path from "node:path"
import { helpText, read, serverEnvironment, surroundings, toArguments } from "../config.ts"

const root = path.resolve(import.meta.dirname, "../..")

const start = (args: ReadonlyArray<string>): number => {
  if (args.includes("--help")) {
    process.stdout.write(helpText)
    return 0
  }
  const config = read(args, surroundings())
  if (Result.isFailure(config)) {
    process.stderr.write(`drover: ${config.failure.message}\n`)
    return 1
  }

  // The packages may be a link to elsewhere, which the server's user must be able to reach as well.
  const programs = new Set(
    [root, path.join(root, "node_modules"), path.dirname(process.execPath)].map((each) => fs.realpathSync(each))
  )
  const starter = [
    path.join(root, "build/starter"),
    "--data",
    config.success.dataDir,
    ...[...programs].flatMap((directory) => ["--program", directory]),
    "--"
  ]
  const server = [process.execPath, path.join(root, "src/main.ts"), ...toArguments(config.success)]
  // Where we were called may be gone tomorrow, and the server's user may not be able to look at it.
  process.chdir(root)
  return become([...starter, ...server], serverEnvironment(config.success))
}

/** The same process, parent and output; another program. Only Node on Windows cannot. */
const become = (argv: ReadonlyArray<string>, environment: Record<string, string>): never =>
  // Its type says that it may be missing.
  process.execve!(argv[0]!, argv, environment)

process.exitCode = start(process.argv.slice(2))
