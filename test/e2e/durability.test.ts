/** What outlives what: builds their server, answers the database, and a wait the client that waited. */
import * as PgConnection from "@effect/sql-pg/PgConnection"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { readFileSync } from "node:fs"
import * as path from "node:path"
import type { Build } from "../support/Drover.ts"
import * as ProcessTable from "../support/ProcessTable.ts"
import * as World from "./World.ts"
import { derivation, sleep } from "./World.ts"

const world = World.opened({ arguments: ["--cores", "1"] })

const recordsOf = async (drv: string) => (await world.drover.builds()).filter(({ derivation }) => derivation === drv)

/** Asks until there is one build of a derivation, and it is as it should become. */
const eventually = async (drv: string, holds: (build: Build) => boolean) => {
  while (true) {
    const [build] = await recordsOf(drv)
    if (build !== undefined && holds(build)) return build
  }
}
const outcomesOf = ({ attempts }: Build) => attempts.map(({ outcome }) => outcome)
const again = (options: { readonly arguments?: ReadonlyArray<string> } = {}) => {
  const { http, ssh } = world.drover.ready
  return world.start({ ports: { ssh, http }, arguments: ["--cores", "1", ...(options.arguments ?? [])] })
}

/**
 * SIGKILL for all that the server is made of but its database, which is left to itself. The server's own process comes
 * first: it would see what it has started die, and might yet say something of it.
 */
const killServer = () => {
  const family = ProcessTable.familyOf(world.drover.process.pid).filter(({ command }) => !/^\S*postgres/.test(command))
  for (const { pid } of [...family.filter(isServer), ...family.toReversed()]) kill(pid)
}
const isServer = ({ command }: ProcessTable.Entry) => command.includes("/src/main.ts\0")
/** SIGKILL for the database. */
const killDatabase = () => {
  const file = path.join(world.drover.ready.data, "postgres/postmaster.pid")
  kill(Number(readFileSync(file, "utf8").split("\n")[0]))
}
const kill = (pid: number) => {
  try {
    process.kill(pid, "SIGKILL")
  } catch {
    // It has gone with one of those before.
  }
}

describe("a server that is killed", () => {
  it("takes up what was under way, and whoever comes back finds it and hears it from the first line", async () => {
    const client = await world.client()
    const kept = derivation("kept", "echo > $out")
    assert.strictEqual((await client.build(kept, "ssh-ng")).status, 0)
    const pause = sleep()
    const lasting = derivation("lasting", `echo begun; ${pause.command}; echo over; echo > $out`)
    const drv = await client.derivation(lasting)
    const building = client.startBuild(lasting, "ssh-ng")
    const waiting = derivation("waiting", "echo > $out")
    await building.line(/^begun$/)
    const queued = client.startBuild(waiting, "ssh")
    await eventually(await client.derivation(waiting), ({ state }) => state === "queued")
    const sleeper = await pause.sleeper()

    killServer()
    const [first, second] = await Promise.all([building.ended, queued.ended, world.drover.process.ended])
    await again()

    assert.notStrictEqual(first.status, 0)
    assert.notStrictEqual(second.status, 0)
    assert.isFalse(pause.sleepers().some(({ pid }) => pid === sleeper))
    // It goes on before anybody has come back.
    await pause.sleeper()
    const back = client.startBuild(lasting, "ssh-ng")
    await back.line(/^begun$/)
    await pause.end()
    const { err, status } = await back.ended
    assert.strictEqual(status, 0, err)
    assert.include(err, "over")
    const build = await eventually(drv, ({ state }) => state === "succeeded")
    assert.deepStrictEqual(outcomesOf(build), ["lost", "succeeded"])
    assert.lengthOf(await recordsOf(drv), 1)
    // The one that had waited for it was built as well, for nobody yet.
    const other = await eventually(await client.derivation(waiting), ({ state }) => state === "succeeded")
    assert.deepStrictEqual(outcomesOf(other), ["succeeded"])
    const { err: said, status: then } = await client.build(waiting, "ssh")
    assert.strictEqual(then, 0, said)
    assert.lengthOf((await recordsOf(await client.derivation(waiting))).flatMap(outcomesOf), 1)
    assert.deepStrictEqual(
      (await recordsOf(await client.derivation(kept))).map(({ state }) => state),
      ["succeeded"]
    )
    const attempts = (await world.drover.builds()).flatMap(({ attempts }) => attempts)
    assert.isTrue(attempts.every(({ endedAt }) => endedAt !== null))
  })
})

describe("a database that is killed", () => {
  it("costs no build: who waits hears of nothing and gets the answer", async () => {
    const client = await world.client()
    const pause = sleep()
    const lasting = derivation("through", `echo begun; ${pause.command}; echo over; echo > $out`)
    const building = client.startBuild(lasting, "ssh-ng")
    await building.line(/^begun$/)

    killDatabase()
    await pause.end()
    const { err, out, status } = await building.ended

    assert.strictEqual(status, 0, err)
    assert.include(err, "over")
    await client.store.must(["cat", out.trim()])
    const build = await eventually(await client.derivation(lasting), ({ state }) => state === "succeeded")
    assert.deepStrictEqual(build.attempts.at(-1)?.outcome, "succeeded")
  })
})

describe("a server that is stopped, and whose database is lost meanwhile", () => {
  it("is ended by the next one, which takes up what was under way and is not disturbed", async () => {
    const client = await world.client()
    const pause = sleep()
    const lasting = derivation("taken-over", `echo begun; ${pause.command}; echo over; echo > $out`)
    const building = client.startBuild(lasting, "ssh-ng")
    await building.line(/^begun$/)
    const first = world.drover
    const [server] = ProcessTable.familyOf(first.process.pid).filter(isServer)
    if (server === undefined) throw new Error("expected the server's own process, found none")

    // A word to the disk, and all that was said before goes with it.
    await world.addAccount("synced")
    process.kill(server.pid, "SIGSTOP")
    killDatabase()
    await again()
    await first.process.ended
    const { status } = await building.ended
    const back = client.startBuild(lasting, "ssh-ng")
    await back.line(/^begun$/)
    await pause.end()
    const { err, status: then } = await back.ended

    assert.notStrictEqual(status, 0)
    assert.strictEqual(then, 0, err)
    const build = await eventually(await client.derivation(lasting), ({ state }) => state === "succeeded")
    assert.deepStrictEqual(outcomesOf(build), ["lost", "succeeded"])
  })
})

describe("a server that another has taken the database over from", () => {
  it("says so, and ends", async () => {
    const connection = { path: path.join(world.drover.ready.data, "postgres.socket/.s.PGSQL.5432"), username: "drover" }
    const begin = Effect.gen(function* () {
      const other = yield* PgConnection.make({ ...connection, database: "postgres" })
      yield* other.queryValues("select begin_tenure()")
    })
    await Effect.runPromise(Effect.scoped(begin))

    const { err, status } = await world.drover.process.ended
    await again()

    assert.strictEqual(status, 1, err)
    assert.match(err, /level=FATAL .*found that another has taken it over/)
  })
})

describe("a host", () => {
  it("that the operator drains lends nothing, over a restart, until it is resumed", async () => {
    const client = await world.client()
    const made = derivation("patient", "echo > $out")
    const drv = await client.derivation(made)
    const hosts = async () => JSON.parse((await world.drover.command("hosts", "list", "--json")).out)

    assert.strictEqual((await world.drover.command("hosts", "drain", "local")).status, 0)
    await world.drover.stop()
    await again()
    assert.deepInclude((await hosts())[0], { id: "local", state: "drained", builders: 0 })
    const building = client.startBuild(made, "ssh-ng")
    await eventually(drv, ({ state }) => state === "queued")
    assert.strictEqual((await world.drover.command("hosts", "resume", "local")).status, 0)

    const { err, status } = await building.ended
    assert.strictEqual(status, 0, err)
    assert.deepInclude((await hosts())[0], { id: "local", state: "serving" })
    const { err: refused, status: none } = await world.drover.command("hosts", "drain", "remote")
    assert.strictEqual(none, 1)
    assert.include(refused, 'expected a host of this service (local), found "remote"')
  })
})

describe("a server that is told to end", () => {
  it("lets what runs come to its end in the time that it is given, and hands on what has not begun", async () => {
    await world.drover.stop()
    await again({ arguments: ["--drain-time", "10m"] })
    const client = await world.client()
    const pause = sleep()
    const lasting = derivation("drained", `echo begun; ${pause.command}; echo > $out`)
    const building = client.startBuild(lasting, "ssh-ng")
    await building.line(/^begun$/)
    const waiting = derivation("handed-on", "echo > $out")
    const queued = client.startBuild(waiting, "ssh-ng")
    await eventually(await client.derivation(waiting), ({ state }) => state === "queued")

    world.drover.process.signal("SIGTERM", "alone")
    await world.drover.process.line(/waiting for builders to end/)
    assert.strictEqual((await fetch(`http://${world.drover.ready.http}/readyz`)).status, 503)
    await pause.end()
    const { err, status } = await building.ended
    await Promise.all([queued.ended, world.drover.process.ended])
    await again()

    assert.strictEqual(status, 0, err)
    const build = await eventually(await client.derivation(waiting), ({ state }) => state === "succeeded")
    assert.deepStrictEqual(outcomesOf(build), ["succeeded"])
  })

  it("hands on what runs, where it is given no time", async () => {
    const client = await world.client()
    const pause = sleep()
    const lasting = derivation("cut-short", `echo begun; ${pause.command}; echo > $out`)
    const building = client.startBuild(lasting, "ssh-ng")
    await building.line(/^begun$/)

    await world.drover.stop()
    await building.ended
    await again()
    await pause.end()

    const build = await eventually(await client.derivation(lasting), ({ state }) => state === "succeeded")
    assert.deepStrictEqual(outcomesOf(build), ["cancelled", "succeeded"])
  })
})
