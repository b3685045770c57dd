/**
 * The traces of one build that two accounts wait for, as a file that Jaeger's UI opens (Search, Upload).
 *
 *   node bench/trace.ts [--sandbox auto] [--stages] FILE
 *
 * Two clients, each with an account of its own and both within one trace of their caller's, ask for the same. The second
 * comes while the first one's build runs, and hears its log from the first line. `--stages` leaves out what hangs below
 * the stages of builds and the steps of requests, queries above all. The pictures in `docs/operating/telemetry.md` are of
 * such a file.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { parseArgs } from "node:util"
import * as Drover from "../test/support/Drover.ts"
import * as NixStore from "../test/support/NixStore.ts"
import * as OtlpReceiver from "../test/support/OtlpReceiver.ts"
import * as Process from "../test/support/Process.ts"
import * as Jaeger from "./Jaeger.ts"

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { sandbox: { type: "string", default: "auto" }, stages: { type: "boolean", default: false } }
})
const [file] = positionals
if (file === undefined) throw new Error("expected the name of a file to write, found none")

const requests = ["request", "upload", "closure", "identity", "reuse", "wait", "grant"]
const builds = ["build", "queue", "prepare", "boot", "run", "import"]

/** Of whoever started both clients: a script, or a run of tests. */
const caller = { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7" }

const record = async (dir: string) => {
  await using stack = new AsyncDisposableStack()
  const receiver = await OtlpReceiver.open()
  stack.defer(receiver.close)
  const drover = await Drover.start(path.join(dir, "drover"), {
    // The last of these holds. Both clients are ours, so they may share what `process` builds as well.
    arguments: ["--sandbox", values.sandbox, "--isolating", "kvm,emulated,process"],
    environment: { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint, OTEL_BSP_SCHEDULE_DELAY: "100" }
  })
  stack.defer(async () => void (await drover.stop()))

  const traceparent = `00-${caller.traceId}-${caller.spanId}-01`
  const expression = `derivation {
    name = "shared"; system = "${NixStore.system}"; builder = "/bin/sh"; seed = "${Date.now()}";
    args = [ "-c" "echo building; for i in 1 2 3 4 5; do echo step $i; sleep 1; done; echo done > $out" ];
  }`
  const open = async (name: string, scheme: string) => {
    const home = path.join(dir, name)
    fs.mkdirSync(home)
    const key = path.join(home, "key")
    await Process.start(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key]).ended
    await drover.command("accounts", "add", name, "--key", `${key}.pub`)
    const { knownHosts, ssh } = drover.ready
    const config = Drover.writeSshConfig(home, "drover", { address: ssh, user: name, key, knownHosts })
    const store = await NixStore.open(path.join(home, "nix"), {
      environment: { NIX_SSHOPTS: `-F ${config} -o SetEnv=TRACEPARENT=${traceparent}` }
    })
    stack.defer(store.close)
    const machine = `${scheme}://drover ${NixStore.system} - 1 1`
    return () => {
      const started = store.start(["nix-build", "--no-out-link", "-j0", "--builders", machine, "-E", expression])
      started.stdin.end()
      return started
    }
  }
  const [alice, bob] = [await open("alice", "ssh-ng"), await open("bob", "ssh")]
  const first = alice()
  await first.line(/step 1/)
  const second = bob()
  for (const { ended } of [first, second]) {
    const { err, status } = await ended
    if (status !== 0) throw new Error(err)
  }
  const named = (name: string) => receiver.spans.filter((span) => span.name === name)
  await receiver.until(() => named("request").length === 2 && named("build").length === 1)
  return receiver.spans
}

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "drover-trace-"))
fs.chmodSync(dir, 0o755)
try {
  const all = await record(dir)
  const spans = values.stages ? Jaeger.only(all, new Set([...requests, ...builds])) : all
  fs.writeFileSync(file, `${JSON.stringify(Jaeger.document(spans), null, 2)}\n`)
} finally {
  fs.rmSync(dir, { recursive: true, force: true, maxRetries: 3 })
}
