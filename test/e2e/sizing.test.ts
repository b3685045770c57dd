/** Builds that need more than they are given at first, as their clients see it. */
import { assert, describe, it } from "@effect/vitest"
import * as World from "./World.ts"
import { derivation, schemes } from "./World.ts"

const world = World.opened()

/** A builder of which one process holds 100 MB for a moment, and which fails without them, and without a word. */
const hungry = (name: string) =>
  derivation(
    name,
    `echo begun
     ($bb/busybox head -c 100000000 /dev/zero | $bb/busybox tail -c 100000000 > held) 2> /dev/null || exit 1
     $bb/busybox wc -c < held > $out; echo made`
  )

const buildOf = async (drv: string) => (await world.drover.builds()).find(({ derivation }) => derivation === drv)

describe.each(schemes)("a build over %s", (scheme) => {
  it("that needs more memory than it first gets succeeds unseen, its log heard once", async () => {
    const client = await world.clientAsking("DROVER_DEFAULT_MEM=64M")
    const made = hungry(`hungry-${scheme}`)

    const { err, out, status } = await client.build(made, scheme)

    assert.strictEqual(status, 0, err)
    assert.strictEqual(await client.store.must(["cat", out.trim()]), "100000000")
    assert.deepStrictEqual(err.match(/begun|made|drover:.*/g), ["begun", "made"])
    const build = await buildOf(await client.derivation(made))
    assert.deepStrictEqual(
      build?.attempts.map(({ memoryBytes, outcome }) => [memoryBytes / 2 ** 20, outcome]),
      [
        [64, "out-of-memory"],
        [256, "succeeded"]
      ]
    )
  })
})

describe("a build", () => {
  it("that needs more memory than it may have fails with a word on both", async () => {
    const client = await world.clientAsking("DROVER_DEFAULT_MEM=32M DROVER_MAX_MEM=64M")

    const { err, status } = await client.build(hungry("bounded"), "ssh-ng")

    assert.notStrictEqual(status, 0)
    assert.match(err, /out of memory: it needed more than its 64M; .*DROVER_MAX_MEM/)
  })

  it("is given what the last of its name was seen to need", async () => {
    const client = await world.client()
    const attemptAt = async (name: string) => {
      const made = hungry(name)
      const { err, status } = await client.build(made, "ssh-ng")
      assert.strictEqual(status, 0, err)
      return (await buildOf(await client.derivation(made)))?.attempts.at(-1)
    }

    const first = await attemptAt("learned-1.0")
    const second = await attemptAt("learned-1.1")

    assert.strictEqual(first?.memoryBytes, 2 * 2 ** 30)
    assert.isBelow(second?.memoryBytes ?? Infinity, 2 ** 29)
    assert.strictEqual(second?.outcome, "succeeded")
  })
})
