import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Exit, Layer, Stream } from "effect"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { ClosureSource } from "../../../src/sandbox/ClosureSource.ts"
import * as ProcessSandbox from "../../../src/sandbox/process/ProcessSandbox.ts"
import { type Exit as Ending, Sandbox } from "../../../src/sandbox/Sandbox.ts"
import * as processes from "../../support/processes.ts"
import * as sandbox from "../../support/sandbox.ts"
import { Place } from "../../support/sandbox.ts"

const exited = (status: number): Ending => ({ _tag: "Exited", status })

const { running } = processes

/** How many pid namespaces a process is in: the host's, its executor's, its builder's. */
const levels = (fields: ReadonlyMap<string, string>) => fields.get("NSpid")?.split("\t").length

/** Starts a script that says "ready" and then goes on; returns once it has said so. */
const untilReady = Effect.fnUntraced(function* (script: string) {
  const { start } = yield* Sandbox
  const running = yield* start(sandbox.job({ script: `echo ready; ${script}` }))
  const seen = yield* Stream.runHead(running.log)
  assert.isTrue(seen._tag === "Some")
  return running
})

const ranged = Effect.map(Place, ({ subUids }) => subUids!)

/** What is left on disk and in control groups. */
const remains = Effect.map(Place, ({ cgroups, dataDirectory }) => [
  ...fs.readdirSync(path.join(dataDirectory, "scratch")),
  ...cgroups.flatMap(({ directory }) =>
    fs.readdirSync(directory, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []))
  )
])

layer(sandbox.layer, { timeout: "60 seconds" })((it) => {
  describe("a build in the process backend", () => {
    it.effect("writes its log and its output", () =>
      Effect.gen(function* () {
        const ended = yield* sandbox.run({ script: "echo building; id; echo error >&2; echo hi > $out" })

        assert.deepStrictEqual(ended.exit, exited(0))
        assert.strictEqual(ended.log, "building\nuid=1000(nixbld) gid=100(nixbld)\nerror\n")
        assert.deepStrictEqual(ended.outputs, ["out"])
        assert.include((yield* sandbox.nar(ended)).toString("latin1"), "hi\n")
      })
    )

    it.effect("finds what its derivation says, and nothing of ours", () =>
      Effect.gen(function* () {
        const { log } = yield* sandbox.run({
          script: "env | sort; pwd; umask; cat .attr-*; ls /nix/store /; cat /proc/self/personality",
          environment: { passAsFile: "long", long: "as a file" }
        })

        assert.include(log, "HOME=/homeless-shelter\n")
        assert.include(log, "NIX_BUILD_CORES=1\n")
        assert.include(log, "\n/build\n0022\nas a file")
        assert.include(log, "00040000\n")
        assert.notInclude(log, "DROVER")
        assert.notInclude(log, "VITEST")
      })
    )

    it.effect("hands over a tree as Nix serialises it", () =>
      Effect.gen(function* () {
        const script =
          "mkdir -p $out/b/a $out/B; echo x > $out/b-; chmod 755 $out/b-; ln -s /nowhere $out/é; ln $out/b- $out/c"
        const ended = yield* sandbox.run({ script })

        const text = (yield* sandbox.nar(ended)).toString("latin1")
        const names = [...text.matchAll(/name\0{4}.\0{7}([^\0]+)/g)].map((match) => match[1])
        assert.deepStrictEqual(names, ["B", "b", "a", "b-", "c", Buffer.from("é").toString("latin1")])
        assert.strictEqual(text.match(/executable/g)?.length, 2)
      })
    )

    for (const [how, script, exit] of [
      ["fails with the status of its builder", "exit 7", exited(7)],
      ["is not ended by a signal that its builder sends itself: it is the first process", "kill -9 $$", exited(0)],
      ["is killed when it closes its log", "exec >/dev/null 2>&1; sleep 100", { _tag: "Signalled", signal: 9 }],
      ["does not wait for a child that keeps the log", "sleep 100 & echo x > $out", exited(0)]
    ] as const) {
      it.effect(how, () =>
        Effect.gen(function* () {
          const ended = yield* sandbox.run({ script })

          assert.deepStrictEqual(ended.exit, exit)
        })
      )
    }

    it.effect("says in its log that its program is missing", () =>
      Effect.gen(function* () {
        const { exit, log } = yield* sandbox.run({ script: "", builder: "/does/not/exist" })

        assert.strictEqual(exit._tag, "NotStarted")
        assert.strictEqual(log, "error: executing '/does/not/exist': No such file or directory\n")
      })
    )

    it.effect("is out of memory past its limit, for certain where it is counted", () =>
      Effect.gen(function* () {
        const { exit } = yield* sandbox.run({ script: "tail /dev/zero", memoryBytes: 64 * 2 ** 20 })

        assert.deepStrictEqual(exit, { _tag: "OutOfMemory", certain: true })
      })
    )

    it.effect("cannot start more processes than it may", () =>
      Effect.gen(function* () {
        const script = "i=0; while [ $i -lt 100 ]; do sleep 100 & i=$((i+1)); done; echo all"
        const { exit, log } = yield* sandbox.run({ script, processesMax: 50 })

        assert.strictEqual(exit._tag, "Exited")
        assert.include(log, "can't fork")
        assert.notInclude(log, "all")
      })
    )

    for (const [what, script, reason] of [
      ["that is not there", ":", "failed to produce output path for output 'out' at"],
      ["that others may write", "echo > $out; chmod 666 $out", "suspicious ownership or permission on"],
      ["with a pipe in it", "mkdir $out; mkfifo $out/p", "has an unsupported type"],
      ["nested beyond reason", "p=$out; for i in $(seq 70); do p=$p/d; done; mkdir -p $p", "is nested too deeply"]
    ] as const) {
      it.effect(`has an output refused ${what}`, () =>
        Effect.gen(function* () {
          const ended = yield* sandbox.run({ script })
          const error = yield* Effect.flip(sandbox.nar(ended))

          assert.strictEqual(error._tag, "OutputRefused")
          assert.include(error.message, reason)
        })
      )
    }

    it.effect("sends its other outputs after one was refused", () =>
      Effect.gen(function* () {
        const ended = yield* sandbox.run({ script: "mkfifo $out; echo fine > $dev", outputs: ["dev", "out"] })
        yield* Effect.flip(sandbox.nar(ended, "out"))

        assert.include((yield* sandbox.nar(ended, "dev")).toString("latin1"), "fine\n")
      })
    )

    it.effect("cannot make set-user-ID files or attributes, mount, or become root", () =>
      Effect.gen(function* () {
        const { log } = yield* sandbox.run({
          script: `
            touch f; chmod u+s f && echo setuid; chmod g+s f && echo setgid; chmod 1755 f || echo no sticky
            setfattr -n user.x -v 1 f && echo attribute; mount -t tmpfs none /tmp && echo mounted
            chroot / true && echo chroot; chown 0:0 f && echo chown; mknod n c 1 3 && echo mknod
            echo x > /etc/x && echo etc; echo x > /x && echo root; rm -f $PATH/sh && echo input
            nc -w 1 192.0.2.1 9 </dev/null && echo network; true`.replaceAll("&&", "2>/dev/null &&")
        })

        assert.strictEqual(log.replaceAll(/^(?:chown|chmod|sh|nc|mknod|rm|chroot|mount): .*\n/gm, ""), "")
      })
    )

    it.effect("sees no processes but its own, and only the loopback", () =>
      Effect.gen(function* () {
        const { log } = yield* sandbox.run({
          script: "ls /proc | grep -c '^[0-9]'; tail -n +3 /proc/net/dev | cut -d: -f1"
        })

        assert.match(log, /^[0-9]\n +lo\n$/)
      })
    )

    it.effect("runs 32-bit systems as such", () =>
      Effect.gen(function* () {
        const { log } = yield* sandbox.run({ script: "uname -m", system: "i686-linux" })

        assert.strictEqual(log, "i686\n")
      })
    )

    it.effect("has not failed where its builder was killed from outside", () =>
      Effect.gen(function* () {
        const range = yield* ranged
        const { ended, log } = yield* untilReady("sleep 100")
        const builder = running(range).find(({ fields }) => /^\d+\t\d+\t1$/.test(fields.get("NSpid") ?? ""))!
        process.kill(Number(builder.pid), "SIGKILL")
        yield* Stream.runDrain(log)

        assert.deepStrictEqual((yield* ended).exit, { _tag: "Killed" })
      }).pipe(Effect.scoped)
    )

    it.effect("is nobody on the host: a user of its own, without capabilities, in namespaces of its own", () =>
      Effect.gen(function* () {
        const range = yield* ranged
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* untilReady("sleep 100")

            const builder = running(range).find(({ fields }) => levels(fields) === 3)!
            const executor = running(range).find(({ fields }) => levels(fields) === 2)!
            assert.strictEqual(builder.fields.get("CapEff"), "0000000000000000")
            assert.strictEqual(builder.fields.get("CapPrm"), "0000000000000000")
            assert.strictEqual(builder.fields.get("NoNewPrivs"), "1")
            assert.strictEqual(builder.fields.get("Seccomp"), "2")
            assert.strictEqual(builder.fields.get("Groups")?.trim(), "")
            assert.notStrictEqual(builder.uid, executor.uid)
            for (const kind of ["user", "pid", "mnt", "net", "ipc", "uts"]) {
              const of = (pid: string) => fs.readlinkSync(`/proc/${pid}/ns/${kind}`)
              assert.notStrictEqual(of(builder.pid), of("self"), kind)
            }
          })
        )
      })
    )

    it.effect("leaves nothing when it is ended in the middle, whatever it has started", () =>
      Effect.gen(function* () {
        const range = yield* ranged
        const before = yield* remains
        yield* Effect.scoped(
          Effect.gen(function* () {
            const script =
              "mkdir -p a/b/c; chmod 0 a/b; trap '' 1 2 15; for i in 1 2 3 4; do (setsid sleep 100 &) ; done; sleep 100"
            yield* untilReady(script)
            assert.isAbove(running(range).length, 1)
          })
        )

        assert.deepStrictEqual(running(range), [])
        assert.deepStrictEqual(yield* remains, before)
      })
    )

    it.effect("leaves nothing when its launcher is killed", () =>
      Effect.gen(function* () {
        const range = yield* ranged
        const before = yield* remains
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { ended, log } = yield* untilReady("mkdir a; sleep 100")
            const executor = running(range).find(({ fields }) => levels(fields) === 2)!
            process.kill(Number(executor.fields.get("PPid")), "SIGKILL")

            const error = yield* Effect.flip(Effect.andThen(Stream.runDrain(log), ended))
            assert.strictEqual(error._tag, "SandboxError")
          })
        )

        assert.deepStrictEqual(running(range), [])
        assert.deepStrictEqual(yield* remains, before)
      })
    )

    it.effect("slows its builder down when nobody reads its log", () =>
      Effect.gen(function* () {
        const { start } = yield* Sandbox
        const memory = process.memoryUsage().rss
        yield* Effect.scoped(
          Effect.gen(function* () {
            const running = yield* start(sandbox.job({ script: "yes | head -c 200000000; echo x > $out" }))
            yield* Stream.runDrain(Stream.take(running.log, 3))
          })
        )

        assert.isBelow(process.memoryUsage().rss - memory, 100 * 2 ** 20)
      })
    )
  })

  describe("a process backend that starts where another was killed", () => {
    it.effect("ends what still runs and removes what is left", () =>
      Effect.gen(function* () {
        const options = yield* Place
        const { first } = options.subUids!
        const left = path.join(options.dataDirectory, "scratch", "left-over")
        fs.mkdirSync(path.join(left, "deep", "er"), { recursive: true })
        for (const name of ["deep/er", "deep", ""]) fs.chownSync(path.join(left, name), first + 9, first + 9)
        const child = spawn("sleep", ["1000"], { uid: first + 9, gid: first + 9 })
        const ended = new Promise((resolve) => child.on("exit", (_, signal) => resolve(signal)))

        const closures = Layer.succeed(ClosureSource, {
          trees: () => Effect.succeed([]),
          nars: () => Effect.succeed([])
        })
        const built = yield* Effect.exit(
          Effect.scoped(Layer.build(ProcessSandbox.layer(options).pipe(Layer.provide(closures))))
        )

        assert.isTrue(Exit.isSuccess(built))
        assert.strictEqual(yield* Effect.promise(() => ended), "SIGKILL")
        assert.isFalse(fs.existsSync(left))
      })
    )
  })
})

describe("a process backend without control groups", () => {
  const uncounted = Layer.unwrap(
    Effect.gen(function* () {
      const programs = yield* processes.programs
      const data = yield* processes.directory
      const options = yield* processes.started(programs, data)
      const tools = yield* processes.tools
      const closures = Layer.succeed(ClosureSource, {
        trees: (hashes) => Effect.succeed(hashes.map(() => tools)),
        nars: () => Effect.succeed([])
      })
      return ProcessSandbox.layer({ ...options, cgroups: [] }).pipe(Layer.provide(closures))
    })
  )

  layer(uncounted, { timeout: "60 seconds" })((it) => {
    it.effect("builds, and bounds processes all the same", () =>
      Effect.gen(function* () {
        const { exit } = yield* sandbox.run({ script: "echo x > $out" })
        assert.deepStrictEqual(exit, { _tag: "Exited", status: 0 })

        const script = "i=0; while [ $i -lt 100 ]; do sleep 100 & i=$((i+1)); done; echo all"
        const { log } = yield* sandbox.run({ script, processesMax: 50 })
        assert.include(log, "can't fork")
        assert.notInclude(log, "all")
      })
    )
  })
})

describe("a process backend that nobody has started", () => {
  it.effect("says what it lacks", () =>
    Effect.gen(function* () {
      const options = { dataDirectory: "/nowhere", userNamespaceFd: null, subUids: null, cgroups: [] }
      const closures = Layer.succeed(ClosureSource, {
        trees: () => Effect.succeed([]),
        nars: () => Effect.succeed([])
      })
      const error = yield* Effect.flip(
        Effect.scoped(Layer.build(ProcessSandbox.layer(options).pipe(Layer.provide(closures))))
      )

      assert.include(error.message, "build/starter")
    })
  )
})
